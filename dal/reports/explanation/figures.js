// Colors of figures are names of the page's style. A theme replaces them when a figure is drawn.
const SCALES = {
  light: {
    "--sequential": [[0, "#e6eef6"], [0.25, "#b4d2e8"], [0.5, "#7ab3d8"], [0.75, "#2f86bd"], [1, "#004a80"]],
    "--diverging": [[0, "#b24a00"], [0.25, "#eba469"], [0.5, "#f6f6f6"], [0.75, "#6fb0d8"], [1, "#00558f"]],
    "--ordered": [[0, "#d55e00"], [0.5, "#b9a34d"], [1, "#0072b2"]],
  },
  dark: {
    "--sequential": [[0, "#222b36"], [0.25, "#1c3f5a"], [0.5, "#22679a"], [0.75, "#4a9fd6"], [1, "#c3e4fa"]],
    "--diverging": [[0, "#ff9d57"], [0.25, "#a3571f"], [0.5, "#23272e"], [0.75, "#2a74a8"], [1, "#8acdf5"]],
    "--ordered": [[0, "#f08038"], [0.5, "#c4b261"], [1, "#56b4e9"]],
  },
};
SCALES.light["--shares"] = [[0, "#f3f6f9"], ...SCALES.light["--sequential"].slice(1)];
SCALES.dark["--shares"] = [[0, "#1b1f26"], ...SCALES.dark["--sequential"].slice(1)];
for (const scales of Object.values(SCALES))
  scales["--sequential-reversed"] = scales["--sequential"].map(([at], i, all) => [at, all[all.length - 1 - i][1]]);

const dark = matchMedia("(prefers-color-scheme: dark)");
const isDark = () => dark.matches && document.documentElement.dataset.theme !== "light";
const narrow = () => document.documentElement.clientWidth < 640;

/** Return a copy of a part of a figure with the colors of the current theme. */
function themed(value, style = getComputedStyle(document.documentElement), scales = SCALES[isDark() ? "dark" : "light"]) {
  if (typeof value === "string" && value.startsWith("--")) return scales[value] ?? style.getPropertyValue(value).trim();
  if (Array.isArray(value)) return value.map((one) => typeof one === "number" ? one : themed(one, style, scales));
  if (value && typeof value === "object")
    return Object.fromEntries(Object.entries(value).map(([key, one]) => [key, themed(one, style, scales)]));
  return value;
}

const AXIS = { gridcolor: "--grid", linecolor: "--line", zerolinecolor: "--line", automargin: true };

function layoutOf(spec, width) {
  const layout = structuredClone(spec.layout ?? {});
  for (const key of Object.keys(layout)) if (/^[xy]axis/.test(key)) layout[key] = { ...AXIS, ...layout[key] };
  for (const key of ["xaxis", "yaxis"]) layout[key] ??= { ...AXIS };
  const small = narrow();
  if (small && layout.xaxis.tickvals) {
    const step = Math.ceil(layout.xaxis.tickvals.length / 7);
    for (const key of ["tickvals", "ticktext"]) layout.xaxis[key] = layout.xaxis[key].filter((_, i) => i % step === 0);
  }
  if (spec.align) alignRounds(layout, small, spec.ends);
  if (spec.multiples && small) stackMultiples(layout, spec.multiples);
  return themed({
    paper_bgcolor: "rgba(0,0,0,0)",
    plot_bgcolor: "rgba(0,0,0,0)",
    hovermode: "closest",
    dragmode: false,
    autosize: !width,
    ...(width ? { width } : {}),
    ...layout,
    font: { family: getComputedStyle(document.body).fontFamily, size: small ? 11 : 12, color: "--text" },
    hoverlabel: { bgcolor: "--card", bordercolor: "--line", font: { color: "--text" }, align: "left", namelength: -1 },
    showlegend: false,
    margin: { l: 60, r: 16, t: 10, b: 58, ...layout.margin },
  });
}

/** Give all figures by round the same left and right ends, so that their columns line up. */
function alignRounds(layout, small, ends) {
  const most = ends ? 18 : 12;  // letters of a name on a small screen
  const left = small ? Math.min(16 + 6.2 * longestName(), 18 + 6.2 * most) : Math.min(22 + 7 * longestName(), 175);
  const right = small ? 46 : 118;
  layout.margin = { ...layout.margin, l: left, r: right };
  layout.yaxis = { ...layout.yaxis, automargin: false };
  layout.xaxis = { ...layout.xaxis, automargin: false };
  if (small && layout.yaxis.ticktext)
    layout.yaxis.ticktext = layout.yaxis.ticktext.map((text) => {
      const letters = lettersOf(text);
      if (letters.length <= most) return text;
      return ends ? "…" + letters.slice(1 - most).join("") : letters.slice(0, most - 1).join("") + "…";
    });
}

/** Return the characters of escaped text; an entity is one. */
const lettersOf = (text) => text.match(/&[^;]+;|[^]/gu) ?? [];

/** Return the length of the longest name of the figures by round. */
function longestName() {
  const names = Object.values(figures).filter((spec) => spec.align).flatMap((spec) => spec.layout.yaxis?.ticktext ?? []);
  return Math.max(7, ...names.map((name) => lettersOf(name).length));
}

/** Put small multiples into two columns. */
function stackMultiples(layout, count) {
  layout.grid.columns = Math.min(2, count);
  layout.grid.rows = Math.ceil(count / layout.grid.columns);
  layout.height = 150 * layout.grid.rows + 60;
}

const CONFIG = { responsive: true, displaylogo: false, displayModeBar: false, scrollZoom: false, doubleClick: false };

/** Draw a figure of traces. */
function drawFigure(id, spec, width) {
  const element = document.getElementById(id);
  element.setAttribute("role", "img");
  element.setAttribute("aria-label", spec.description);
  const traces = themed(spec.data);
  traces.forEach((trace, i) => { if (hidden(id).has(groupOf(spec.data[i]))) trace.visible = false; });
  drawKey(id, spec, traces);
  if (narrow()) for (const trace of traces) if (trace.colorbar) trace.colorbar = { ...trace.colorbar, thickness: 8, nticks: 4, title: { text: "" } };
  return Plotly.react(element, traces, layoutOf(spec, width), CONFIG);
}

const hiddenGroups = {};
const hidden = (id) => hiddenGroups[id] ??= new Set();
const groupOf = (trace) => trace.legendgroup ?? trace.name;

/** Draw the key of a figure: a button a trace, which hides it and shows it again. */
function drawKey(id, spec, traces) {
  const element = document.getElementById(id);
  let key = element.previousElementSibling;
  if (!key?.classList.contains("key")) {
    key = document.createElement("div");
    key.className = "key";
    element.before(key);
  }
  const named = traces.filter((trace) => trace.name && trace.showlegend !== false);
  const isShown = spec.key !== false && (named.length > 1 || named.some((trace) => trace.mode === "markers"));
  key.replaceChildren(...(isShown ? named : []).map((trace) => {
    const button = document.createElement("button"), group = groupOf(trace);
    button.type = "button";
    button.setAttribute("aria-pressed", !hidden(id).has(group));
    button.innerHTML = `${sample(trace)}<span>${trace.name}</span>`;
    button.addEventListener("click", () => {
      hidden(id).has(group) ? hidden(id).delete(group) : hidden(id).add(group);
      drawFigure(id, spec).then(() => [...key.children].find((one) => one.textContent === button.textContent)?.focus());
    });
    return button;
  }));
}

const SHAPES = {
  circle: '<circle cx="8" cy="8" r="5.5"/>',
  "circle-dot": '<circle cx="8" cy="8" r="5.5"/><circle cx="8" cy="8" r="1"/>',
  x: '<path d="M3 5L5 3L8 6L11 3L13 5L10 8L13 11L11 13L8 10L5 13L3 11L6 8Z"/>',
  "x-thin-open": '<path d="M3 3L13 13M13 3L3 13"/>',
  "triangle-down-open": '<path d="M2 4H14L8 14Z" fill="none"/>',
  "square-open": '<path d="M3 3H13V13H3Z" fill="none"/>',
  "diamond-open": '<path d="M8 1L15 8L8 15L1 8Z" fill="none"/>',
  "line-ne-open": '<path d="M3 13L13 3" stroke-width="1.2"/>',
};
const STROKES = { solid: "", dash: "6 4", dot: "2 3", dashdot: "6 3 2 3" };

/** Return a small picture of how a trace looks. */
function sample(trace) {
  const color = trace.marker?.color ?? trace.line?.color, start = '<svg width="16" height="16" aria-hidden="true"';
  if (trace.type === "bar") return `${start}><rect x="2" y="2" width="12" height="12" fill="${color}"/></svg>`;
  const inside = trace.mode === "markers" && SHAPES[trace.marker.symbol];
  if (inside) return `${start} stroke="${trace.marker.line.color}" stroke-width="${trace.marker.line.width}" fill="${color}">${inside}</svg>`;
  return `<svg width="24" height="16" aria-hidden="true" stroke="${color}" stroke-width="2">` +
    `<path d="M1 8H23" stroke-dasharray="${STROKES[trace.line?.dash] ?? ""}"/><circle cx="12" cy="8" r="2.5" fill="${color}"/></svg>`;
}

/** Return a thumbnail with a text below it. The text is HTML that is already escaped. */
function thumbnail(section, tile, text) {
  const item = document.createElement("span");
  item.className = "item";
  if (tile) {
    const image = document.createElement("span");
    image.className = `thumb ${section}-thumb`;
    image.style.backgroundPosition = `-${tile[0]}px -${tile[1]}px`;
    item.append(image);
  }
  const below = document.createElement("span");
  below.innerHTML = text;
  item.append(below);
  return item;
}
