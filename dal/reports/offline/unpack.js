"use strict";
/** Return the text of a packed element. */
async function unpack(id) {
  const packed = atob(document.getElementById(id).textContent);
  const bytes = new Uint8Array(packed.length);
  for (let i = 0; i < packed.length; i++) bytes[i] = packed.charCodeAt(i);
  const stream = new Blob([bytes]).stream().pipeThrough(new DecompressionStream("gzip"));
  return new Response(stream).text();
}

/** Load Plotly, and return whether this browser can. Otherwise, show the sentence that says so. */
async function loadPlotly() {
  if (typeof DecompressionStream === "undefined") {
    document.getElementById("no-figures").hidden = false;
    return false;
  }
  const script = document.createElement("script");
  script.textContent = await unpack("plotly");
  document.head.append(script);
  return true;
}
