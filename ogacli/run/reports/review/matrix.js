// How often each given label comes with each suggested one; a cell shows only its samples.
const LARGEST = 12; // rows and columns

function prepareMatrix() {
  const counts = new Map();
  for (const { given, suggested } of samples) {
    if (!counts.has(given)) counts.set(given, new Map());
    counts.get(given).set(suggested, (counts.get(given).get(suggested) ?? 0) + 1);
  }
  if (ofParts) return; // almost every label is another one
  if (!samples.some((sample) => sample.suggested !== null)) return;
  const rows = frequent(samples.map((one) => one.given));
  const columns = frequent(samples.map((one) => one.suggested));
  const most = Math.max(...rows.flatMap((row) => columns.map((column) => counts.get(row)?.get(column) ?? 0)));
  const head = el("tr", {}, el("th", { scope: "col" }, "given ↓ suggested →"));
  for (const column of columns) head.append(el("th", { scope: "col" }, column ?? "none"));
  const body = el("tbody");
  for (const row of rows) {
    const line = el("tr", {}, el("th", { scope: "row" }, row));
    for (const column of columns) {
      const number = counts.get(row)?.get(column) ?? 0;
      line.append(number ? el("td", {}, cell(row, column, number, most)) : el("td", { class: "empty" }, "·"));
    }
    body.append(line);
  }
  $("#matrix table").append(el("thead", {}, head), body);
  $("#matrix").hidden = false;
  const all = new Set(samples.map((one) => one.given)).size;
  if (all > rows.length) $("#matrix .note").append(` The ${LARGEST} most frequent labels of ${count(all)} are shown.`);
}

function frequent(values) {
  const counts = new Map();
  for (const value of values) counts.set(value, (counts.get(value) ?? 0) + 1);
  const largest = [...counts].sort((a, b) => b[1] - a[1]).slice(0, LARGEST);
  const last = "\uffff"; // samples without a suggestion come last
  return largest.map(([value]) => value).sort((a, b) => (a ?? last).localeCompare(b ?? last, "en", { numeric: true }));
}

function cell(given, suggested, number, most) {
  const button = el(
    "button",
    {
      type: "button",
      "aria-pressed": "false",
      "aria-label": `${plural(number, "sample")} labelled ${given}, suggested ${suggested ?? "none"}`,
      onclick: () => {
        const same = chosenCell && chosenCell[0] === given && chosenCell[1] === suggested;
        chosenCell = same ? null : [given, suggested];
        show(0);
      },
    },
    count(number),
  );
  button.style.setProperty("--depth", `${Math.round(8 + 50 * Math.sqrt(number / most))}%`);
  button.cell = [given, suggested];
  return button;
}

function markCell() {
  for (const button of document.querySelectorAll("#matrix button")) {
    const pressed = chosenCell && button.cell[0] === chosenCell[0] && button.cell[1] === chosenCell[1];
    button.setAttribute("aria-pressed", String(Boolean(pressed)));
  }
}
