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
  if (spec.align) alignRounds(layout, small);
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
    legend: { orientation: "h", y: 1.02, yanchor: "bottom", x: 0, ...layout.legend, font: { size: 11 } },
    margin: { l: 60, r: 16, t: layout.showlegend ? 36 : 10, b: 58, ...layout.margin },
  });
}

/** Give all figures by round the same left and right ends, so that their columns line up. */
function alignRounds(layout, small) {
  const left = small ? 92 : 165, right = small ? 52 : 90;
  layout.margin = { ...layout.margin, l: left, r: right };
  layout.yaxis = { ...layout.yaxis, automargin: false };
  layout.xaxis = { ...layout.xaxis, automargin: false };
  if (small && layout.yaxis.ticktext)
    layout.yaxis.ticktext = layout.yaxis.ticktext.map((text) => text.includes("&") || text.length < 13 ? text : text.slice(0, 11) + "…");
}

/** Put small multiples into two columns. */
function stackMultiples(layout, count) {
  layout.grid.columns = Math.min(2, count);
  layout.grid.rows = Math.ceil(count / layout.grid.columns);
  layout.height = 150 * layout.grid.rows + 90;
}

const CONFIG = { responsive: true, displaylogo: false, displayModeBar: false, scrollZoom: false, doubleClick: false };

/** Draw a figure of traces. */
function drawFigure(id, spec, width) {
  const element = document.getElementById(id);
  element.setAttribute("role", "img");
  element.setAttribute("aria-label", spec.description);
  const traces = themed(spec.data);
  if (narrow()) for (const trace of traces) if (trace.colorbar) trace.colorbar.thickness = 8;
  return Plotly.react(element, traces, layoutOf(spec, width), CONFIG);
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
