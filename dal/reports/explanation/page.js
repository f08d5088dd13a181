let figures = {};

/** Draw all figures, and leave time for the browser between them. */
async function drawAll(width) {
  for (const [id, spec] of Object.entries(figures)) {
    await (spec.matrix ? drawMatrix(width) : drawFigure(id, spec, width));
    await new Promise((resolve) => setTimeout(resolve));
  }
  document.body.dataset.drawn = isDark() ? "dark" : "light";
}

/** Show the thumbnail of a point of the map. */
function setUpMap() {
  const element = document.getElementById("map"), strip = document.getElementById("map-image"), spec = figures.map;
  const show = (event) => {
    const at = event.points[0].pointNumber, text = spec.data[0].hovertext[at];
    strip.replaceChildren(thumbnail("images", spec.tiles[at], text));
  };
  element.on("plotly_hover", show);
  element.on("plotly_click", show);
}

/** Draw light figures that fit the paper before printing, and the former ones after it. */
function printLight(isPrinting) {
  if (isPrinting) document.documentElement.dataset.theme = "light";
  else delete document.documentElement.dataset.theme;
  for (const [id, spec] of Object.entries(figures))
    spec.matrix ? drawMatrix(isPrinting ? 680 : undefined) : drawFigure(id, spec, isPrinting ? 680 : undefined);
}

async function start() {
  if (!await loadPlotly()) return;
  figures = JSON.parse(await unpack("figures"));
  if (figures.matrix) setUpMatrix(figures.matrix);
  await drawAll();
  if (figures.map) setUpMap();
  dark.addEventListener("change", () => drawAll());
  matchMedia("(max-width: 640px)").addEventListener("change", () => drawAll());
  addEventListener("beforeprint", () => printLight(true));
  addEventListener("afterprint", () => printLight(false));
}
start();
