// A short line in a model's colour (`--variant`) and dash, as on the loss chart.

function dashSwatch(dash = "none") {
  const line = shape("line", { x1: 0, x2: 28, y1: 2, y2: 2, "stroke-dasharray": dash || "none" });
  return shape("svg", { class: "dash", "aria-hidden": "true" }, line);
}
