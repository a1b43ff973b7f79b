// Draws every figure of the page in the colours of its theme, and again when the theme changes.
"use strict";
(() => {
  const config = { displaylogo: false, responsive: true, modeBarButtonsToRemove: ["select2d", "lasso2d", "autoScale2d"] };
  const colour = (name) => getComputedStyle(document.documentElement).getPropertyValue(name).trim();
  const merge = (base, more) => {
    const out = { ...base };
    for (const [key, value] of Object.entries(more)) {
      const both = value && typeof value === "object" && !Array.isArray(value) && out[key];
      out[key] = both ? merge(out[key], value) : value;
    }
    return out;
  };
  const layout = (own, narrow) => {
    const axis = {
      gridcolor: colour("--line"),
      zerolinecolor: colour("--line"),
      linecolor: colour("--line"),
      automargin: true,
      tickfont: { size: narrow ? 11 : 12 },
    };
    return merge(
      {
        paper_bgcolor: "rgba(0,0,0,0)",
        plot_bgcolor: "rgba(0,0,0,0)",
        font: { color: colour("--text"), family: "system-ui, sans-serif", size: 12 },
        hoverlabel: { bgcolor: colour("--panel"), font: { color: colour("--text") } },
        modebar: { bgcolor: "rgba(0,0,0,0)", color: colour("--muted"), activecolor: colour("--text") },
        dragmode: narrow ? false : "zoom",
        xaxis: axis,
        yaxis: axis,
      },
      own,
    );
  };
  const draw = () => {
    const narrow = matchMedia("(max-width: 600px)").matches;
    for (const place of document.querySelectorAll("[data-figure]")) {
      const content = JSON.parse(document.getElementById(`figure-${place.dataset.figure}`).textContent);
      for (const trace of content.data.filter((one) => one.type === "bar" && one.error_x)) {
        trace.error_x.color = colour("--text");
      }
      Plotly.react(place, content.data, layout(content.layout, narrow), { ...config, displayModeBar: narrow ? false : "hover" });
    }
  };
  draw();
  document.addEventListener("themechange", draw);
})();
