// The confusion matrix: a slider over rounds, the difference from another round, and the images behind a cell.
const matrix = { spec: null, cell: null };

function setUpMatrix(spec) {
  matrix.spec = spec;
  let now = new Array(spec.label.length).fill(UNTESTED);
  for (const round of spec.matrix) {
    if (round.counts) continue;
    now = [...now];
    round.at.forEach((point, i) => { now[point] = round.to[i]; });
    round.predicted = now;
    Object.assign(round, countsOf(round, spec));
  }
  const [slider, other] = ["matrix-round", "matrix-other"].map((id) => document.getElementById(id));
  const [row, column] = ["matrix-true", "matrix-predicted"].map((id) => document.getElementById(id));
  slider.addEventListener("input", () => drawMatrix());
  other.addEventListener("input", () => drawMatrix());
  for (const list of [row, column])
    list.addEventListener("input", () => { matrix.cell = [Number(row.value), Number(column.value)]; drawMatrix(); });
  matrix.cell = worstCell(spec.matrix[spec.matrix.length - 1].counts);
}

const UNTESTED = -2;
const Z = 1.959964;
const square = (size) => Array.from({ length: size }, () => new Array(size).fill(0));

/** Return the counts of the cells and the number of tested points of each class. */
function countsOf(round, spec) {
  const counts = square(spec.classes.length), totals = new Array(spec.classes.length).fill(0);
  round.predicted.forEach((predicted, point) => {
    if (predicted === UNTESTED) return;
    totals[spec.label[point]]++;
    if (predicted >= 0) counts[spec.label[point]][predicted]++;
  });
  return { counts, totals };
}

/** Return the cell with the most errors. */
function worstCell(counts) {
  let best = [0, Math.min(1, counts.length - 1)], most = 0;
  counts.forEach((row, i) => row.forEach((n, j) => { if (i !== j && n > most) [best, most] = [[i, j], n]; }));
  return best;
}

/** Return Wilson's 95 % interval of a share. */
function wilson(n, total) {
  const share = n / total, squared = Z * Z / total, center = (share + squared / 2) / (1 + squared);
  const half = Z / (1 + squared) * Math.sqrt(share * (1 - share) / total + squared / (4 * total));
  return [n ? center - half : 0, n < total ? center + half : 1];
}

/** Return the middle and half the length of the 95 % interval of the change of a share on the same points. */
function changeOf(gains, losses, total) {
  const added = total + 2, change = (gains - losses) / added;
  return [change, Z * Math.sqrt(((gains + losses + 1) / added - change * change) / added)];
}

function drawMatrix(width) {
  const spec = matrix.spec, size = spec.classes.length;
  const round = spec.matrix[document.getElementById("matrix-round").value];
  const chosen = document.getElementById("matrix-other").value;
  const other = chosen === "" ? null : spec.matrix[chosen];
  const labels = round.labels === null ? "" : `, ${round.labels.toLocaleString("en")} labels`;
  document.getElementById("matrix-said").textContent = `round ${round.round}${labels}`;
  document.getElementById("matrix-round").setAttribute("aria-valuetext", `round ${round.round}${labels}`);
  const layers = other ? difference(round, other, spec) : shares(round, spec);
  const rows = [...Array(size).keys()];
  const small = narrow(), room = (width ?? document.getElementById("confusion").clientWidth) - (small ? 130 : 240);
  const side = Math.min(44, room / size), step = Math.ceil(13 / side);
  const ticks = rows.filter((one) => one % step === 0);
  const trace = { type: "heatmap", x: rows, y: rows, hoverinfo: "text", xgap: size > 40 ? 0 : 1, ygap: size > 40 ? 0 : 1 };
  const [i, j] = matrix.cell;
  const axis = { tickvals: ticks, ticktext: ticks.map((one) => spec.short[one]), showgrid: false, zeroline: false };
  const figure = {
    data: layers.map((layer) => ({ ...trace, ...layer })),
    layout: {
      height: side * size + 150,
      xaxis: { ...axis, title: { text: "The model says" }, tickangle: size * Math.max(...spec.short.map((name) => lettersOf(name).length)) > (narrow() ? 36 : 70) ? -60 : 0 },
      yaxis: { ...axis, title: { text: "Class" }, autorange: false, range: [size - 0.5, -0.5] },
      shapes: [{ type: "rect", x0: j - 0.5, x1: j + 0.5, y0: i - 0.5, y1: i + 0.5, line: { color: "--vermilion", width: 3 } }],
      margin: { t: 10, l: 60 },
    },
    description: spec.description,
  };
  const element = document.getElementById("matrix");
  element.style.maxWidth = `${Math.round(1.1 * side * size) + (small ? 150 : 250)}px`;
  const drawn = drawFigure("matrix", figure, width);
  if (!element.dataset.clicks) {
    element.dataset.clicks = "yes";
    element.on("plotly_click", (event) => {
      matrix.cell = [event.points[0].y, event.points[0].x];
      drawMatrix();
    });
  }
  showCell(round);
  return drawn;
}

function shares(round, spec) {
  const z = round.counts.map((row, i) => row.map((n) => round.totals[i] ? 100 * n / round.totals[i] : null));
  const text = round.counts.map((row, i) => row.map((n, j) => {
    const ends = wilson(n, round.totals[i]).map((end) => (100 * end).toFixed(0));
    const interval = round.totals[i] ? `: ${z[i][j].toFixed(0)} % (${ends[0]} to ${ends[1]} %)` : "";
    return `${spec.classes[i]} called ${spec.classes[j]}<br>${n} of ${round.totals[i]}${interval}`;
  }));
  return [{
    z, hovertext: text, colorscale: "--shares", zmin: 0, zmax: 100, ...cellTexts(round.counts, (n) => n || ""),
    colorbar: { title: { text: "Share of the class (%)", side: "right" }, thickness: 12, outlinewidth: 0 },
  }];
}

function cellTexts(values, format) {
  if (values.length > 14 || narrow() && values.length > 10) return {};
  return { text: values.map((row) => row.map(format)), texttemplate: "%{text}", textfont: { size: 11 } };
}

/** Return the middle and half the length of the 95 % interval of the change between two samples. */
function changeOfSamples(n, total, before, totalBefore) {
  const [now, then] = [(n + 1) / (total + 2), (before + 1) / (totalBefore + 2)];
  return [now - then, Z * Math.sqrt(now * (1 - now) / (total + 2) + then * (1 - then) / (totalBefore + 2))];
}

/** Return the change of each cell on the points that both rounds tested: value, interval and text. */
function changesOfPoints(round, other, spec) {
  const size = spec.classes.length, gains = square(size), losses = square(size), totals = new Array(size).fill(0);
  round.predicted.forEach((now, point) => {
    const before = other.predicted[point], i = spec.label[point];
    if (now === UNTESTED || before === UNTESTED) return;
    totals[i]++;
    if (now === before) return;
    if (now >= 0) gains[i][now]++;
    if (before >= 0) losses[i][before]++;
  });
  return (i, j) => ({
    interval: changeOf(gains[i][j], losses[i][j], totals[i]),
    value: totals[i] ? 100 * (gains[i][j] - losses[i][j]) / totals[i] : null,
    said: `of ${totals[i]} images, ${gains[i][j]} more than in round ${other.round} and ${losses[i][j]} fewer`,
  });
}

/** Return the same for rounds whose counts alone are known. */
function changesOfCounts(round, other) {
  return (i, j) => {
    const [n, total, before, totalBefore] = [round.counts[i][j], round.totals[i], other.counts[i][j], other.totals[i]];
    return {
      interval: changeOfSamples(n, total, before, totalBefore),
      value: total && totalBefore ? 100 * (n / total - before / totalBefore) : null,
      said: `${n} of ${total} images, in round ${other.round} ${before} of ${totalBefore}`,
    };
  };
}

/** Return two layers: cells that changed, and pale ones whose interval of the change contains 0. */
function difference(round, other, spec) {
  const size = spec.classes.length, clear = square(size), pale = square(size), text = square(size);
  const changes = (round.predicted && other.predicted ? changesOfPoints : changesOfCounts)(round, other, spec);
  let most = 1;
  for (let i = 0; i < size; i++) for (let j = 0; j < size; j++) {
    const { interval: [change, half], value, said } = changes(i, j);
    const isClear = value !== null && Math.abs(change) > half;
    clear[i][j] = isClear ? value : null;
    pale[i][j] = isClear ? null : value;
    most = Math.max(most, Math.abs(value ?? 0));
    const ends = [change - half, change + half].map((end) => (100 * Math.max(-1, Math.min(1, end))).toFixed(0));
    text[i][j] = `${spec.classes[i]} called ${spec.classes[j]}<br>${said}<br>` +
      `change ${ends[0]} to ${ends[1]} points`;
  }
  const layer = { hovertext: text, colorscale: "--diverging", zmin: -most, zmax: most };
  const bar = { title: { text: "Change (points)", side: "right" }, thickness: 12, outlinewidth: 0 };
  return [
    { z: pale, ...layer, opacity: 0.28, showscale: false },
    { z: clear, ...layer, ...cellTexts(clear, (value) => value === null ? "" : value.toFixed(0)), colorbar: bar },
  ];
}

/** Show the images behind the chosen cell. */
function showCell(round) {
  const spec = matrix.spec, [i, j] = matrix.cell;
  document.getElementById("matrix-true").value = i;
  document.getElementById("matrix-predicted").value = j;
  const strip = document.getElementById("matrix-images");
  const said = document.createElement("p");
  const count = round.counts[i][j], found = [];
  for (let point = 0; i !== j && point < spec.ids.length && found.length < spec.most; point++)
    if (round.predicted && spec.label[point] === i && round.predicted[point] === j) found.push(point);
  const shown = found.length && found.length < count ? ` ${found.length} of them:` : "";
  said.innerHTML = `Round ${round.round}: ${count} of ${round.totals[i]} images of <b>${spec.classes[i]}</b> are called ` +
    `<b>${spec.classes[j]}</b>.${round.predicted ? shown : i !== j && count ? " The run has no record of which ones." : ""}`;
  strip.replaceChildren(said, ...found.map((point) => thumbnail("confusion", spec.tiles[point], spec.ids[point])));
}
