// The loss chart in words and as a table.

function chartInWords(shown) {
  const ends = shown.map(({ label, validation }) => ({ label, points: validation.steps.map((at, i) => [at, validation.losses[i]]) }));
  const two = (loss) => fixed(loss, 2);
  const along = (from, to) => (from === 0 ? `in ${grouped(to)} steps` : `from step ${grouped(from)} to step ${grouped(to)}`);
  const courses = ends.map(({ label, points }) => courseInWords(label, `validation loss, in ${choices.unit},`, points, two, along));
  return [...courses, lowestInWords(ends, two)].filter(Boolean).join(" ");
}

// The validation losses; rows are only added while the same curves grow, so that whoever reads the table is not disturbed.
function fillTable(box) {
  const says = JSON.stringify([choices.unit, curves.map(({ label }) => label)]);
  const steps = [...new Set(curves.flatMap(({ validation }) => validation.steps))].sort((a, b) => a - b);
  const isSame = box.dataset.says === says && steps.join().startsWith(box.dataset.steps);
  if (!isSame) {
    box.replaceChildren();
    makeTable(box, ["step", ...curves.map(({ label }) => label)], "", `validation loss, ${choices.unit}`);
  }
  Object.assign(box.dataset, { says, steps: steps.join() });
  const body = box.querySelector("tbody");
  for (const step of steps.slice(body.children.length)) {
    makeRow(body, grouped(step), curves.map(({ validation }) => fixed(validation.losses[validation.steps.indexOf(step)], 3)));
  }
}
