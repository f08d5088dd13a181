// The confusion matrix: a slider over rounds, the difference from another round, and the images behind a cell.
const matrix = { spec: null, cell: null };

function setUpMatrix(spec) {
  matrix.spec = spec;
  const [slider, other] = ["matrix-round", "matrix-other"].map((id) => document.getElementById(id));
  const [row, column] = ["matrix-true", "matrix-predicted"].map((id) => document.getElementById(id));
  slider.addEventListener("input", () => drawMatrix());
  other.addEventListener("input", () => drawMatrix());
  for (const list of [row, column])
    list.addEventListener("input", () => { matrix.cell = [Number(row.value), Number(column.value)]; drawMatrix(); });
  const [i, j] = worstCell(spec.matrix[spec.matrix.length - 1]);
  matrix.cell = [i, j];
}

/** Return the cell with the most errors. */
function worstCell(round) {
  let best = [0, Math.min(1, round.totals.length - 1), -1];
  for (const [i, j, n] of round.counts) if (i !== j && n > best[2]) best = [i, j, n];
  return best;
}

function dense(round, size) {
  const counts = Array.from({ length: size }, () => new Array(size).fill(0));
  for (const [i, j, n] of round.counts) counts[i][j] = n;
  return counts;
}

/** Mean and variance of the share of a cell, with a Jeffreys prior of 1/2 a cell on its row. */
function posterior(count, total, cells) {
  const a = count + 0.5, sum = total + cells / 2, b = sum - a;
  return [a / sum, a * b / (sum * sum * (sum + 1))];
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
  const side = Math.max(12, Math.min(44, 520 / size));
  const trace = { type: "heatmap", x: rows, y: rows, hoverinfo: "text", xgap: size > 40 ? 0 : 1, ygap: size > 40 ? 0 : 1 };
  const [i, j] = matrix.cell;
  const axis = { tickvals: rows, ticktext: spec.short, showgrid: false, zeroline: false };
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
  if (narrow() && size > 14) figure.layout.xaxis.showticklabels = figure.layout.yaxis.showticklabels = false;
  const element = document.getElementById("matrix");
  element.style.maxWidth = `${Math.round(1.15 * side * size) + 260}px`;
  const drawn = drawFigure("matrix", figure, width);
  if (!element.dataset.clicks) {
    element.dataset.clicks = "yes";
    element.on("plotly_click", (event) => {
      matrix.cell = [event.points[0].y, event.points[0].x];
      drawMatrix();
    });
  }
  showCell(round, other);
  return drawn;
}

function shares(round, spec) {
  const counts = dense(round, spec.classes.length);
  const z = counts.map((row, i) => row.map((n) => round.totals[i] ? 100 * n / round.totals[i] : null));
  const text = counts.map((row, i) => row.map((n, j) => {
    const [mean, variance] = posterior(n, round.totals[i], spec.cells), half = 1.96 * Math.sqrt(variance);
    const ends = [Math.max(0, mean - half), Math.min(1, mean + half)].map((end) => (100 * end).toFixed(0));
    return `${spec.classes[i]} called ${spec.classes[j]}<br>${n} of ${round.totals[i]} (${ends[0]} to ${ends[1]} %)`;
  }));
  return [{
    z, hovertext: text, colorscale: "--shares", zmin: 0, zmax: 100, ...cellTexts(counts, (n) => n || ""),
    colorbar: { title: { text: "Share of the class (%)", side: "right" }, thickness: 12, outlinewidth: 0 },
  }];
}

function cellTexts(values, format) {
  if (values.length > 14 || narrow() && values.length > 10) return {};
  return { text: values.map((row) => row.map(format)), texttemplate: "%{text}", textfont: { size: 11 } };
}

/** Return two layers: cells that changed, and pale ones whose interval of the change contains 0. */
function difference(round, other, spec) {
  const now = dense(round, spec.classes.length), before = dense(other, spec.classes.length);
  const clear = [], pale = [], text = [];
  now.forEach((row, i) => {
    clear.push([]); pale.push([]); text.push([]);
    row.forEach((n, j) => {
      const [mean, variance] = posterior(n, round.totals[i], spec.cells);
      const [old, oldVariance] = posterior(before[i][j], other.totals[i], spec.cells);
      const half = 1.96 * Math.sqrt(variance + oldVariance), change = mean - old;
      const known = round.totals[i] && other.totals[i];
      const value = known ? 100 * (n / round.totals[i] - before[i][j] / other.totals[i]) : null;
      const isClear = Math.abs(change) > half;
      clear[i].push(isClear ? value : null);
      pale[i].push(isClear ? null : value);
      text[i].push(`${spec.classes[i]} called ${spec.classes[j]}<br>${n} now, ${before[i][j]} in round ${other.round}` +
        `<br>change ${(100 * change).toFixed(0)} points (${(100 * (change - half)).toFixed(0)} to ${(100 * (change + half)).toFixed(0)})`);
    });
  });
  const most = Math.max(1, ...clear.flat().map((value) => Math.abs(value ?? 0)), ...pale.flat().map((value) => Math.abs(value ?? 0)));
  const layer = { hovertext: text, colorscale: "--diverging", zmin: -most, zmax: most };
  const bar = { title: { text: "Change (points)", side: "right" }, thickness: 12, outlinewidth: 0 };
  return [
    { z: pale, ...layer, opacity: 0.28, showscale: false },
    { z: clear, ...layer, ...cellTexts(clear, (value) => value === null ? "" : value.toFixed(0)), colorbar: bar },
  ];
}

/** Show the images behind the chosen cell. */
function showCell(round, other) {
  const spec = matrix.spec, [i, j] = matrix.cell;
  document.getElementById("matrix-true").value = i;
  document.getElementById("matrix-predicted").value = j;
  const strip = document.getElementById("matrix-images");
  const said = document.createElement("p");
  const count = (round.counts.find(([a, b]) => a === i && b === j) ?? [0, 0, 0])[2];
  const isError = i !== j;
  const found = isError ? round.examples[`${i},${j}`] ?? [] : [];
  const shown = found.length && found.length < count ? ` ${found.length} of them:` : "";
  said.innerHTML = `Round ${round.round}: ${count} of ${round.totals[i]} images of <b>${spec.classes[i]}</b> are called ` +
    `<b>${spec.classes[j]}</b>.${shown}`;
  strip.replaceChildren(said, ...found.map((point) => thumbnail("confusion", spec.tiles[point], spec.ids[point])));
}
