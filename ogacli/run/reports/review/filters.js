// Which samples are shown, and in which order.
const filters = $("#filters");
const SEPARATE = "\u0000";
let chosenCell = null; // a cell of the matrix: [given, suggested]

const ORDERS = {
  rank: (a, b) => a.rank - b.rank,
  last: (a, b) => b.rank - a.rank,
  given: (a, b) => a.given.localeCompare(b.given) || a.rank - b.rank,
  suggested: (a, b) => (a.suggested ?? SEPARATE).localeCompare(b.suggested ?? SEPARATE) || a.rank - b.rank,
  sure: (a, b) => (b.sure ?? -1) - (a.sure ?? -1) || a.rank - b.rank,
  unsure: (a, b) => (a.sure ?? 2) - (b.sure ?? 2) || a.rank - b.rank,
  agreement: (a, b) => (a.agreement ?? "").localeCompare(b.agreement ?? "") || a.rank - b.rank,
  id: (a, b) => a.id.localeCompare(b.id, "en", { numeric: true }),
};

function fill(select, values, none) {
  const names = [...new Set(values)].filter((value) => value !== null).sort((a, b) => a.localeCompare(b, "en", { numeric: true }));
  for (const value of names) select.append(el("option", { value: `=${value}` }, value));
  if (none && values.includes(null)) select.append(el("option", { value: "-" }, none));
  select.closest("label").hidden = names.length + (none && values.includes(null) ? 1 : 0) < 2;
}

function prepareFilters() {
  const field = filters.elements;
  const own = (key, whole) => samples.flatMap((one) => (!ofParts ? [one[whole]] : ofClasses ? partsOf(one[key]) : []));
  fill(field.given, own("old", "given"));
  fill(field.suggested, own("new", "suggested"), "no suggestion");
  fill(field.reason, samples.map((one) => one.reason));
  fill(field.agreement, samples.map((one) => one.agreement));
  if (field.agreement.closest("label").hidden) field.sort.querySelector("[value=agreement]").remove();
  filters.addEventListener("submit", (event) => event.preventDefault());
  filters.addEventListener("input", () => show(0));
  filters.addEventListener("reset", () => {
    chosenCell = null;
    setTimeout(() => show(0));
  });
}

const allows = (choice, value) => choice === "" || (choice === "-" ? value === null : choice === `=${value}`);

/** Of several classes one must be the chosen one. */
const allowsLabel = (choice, label, classes) =>
  ofClasses ? choice === "" || partsOf(classes).includes(choice.slice(1)) : allows(choice, label);

function textOf(sample) {
  const look = looks.get(sample.position);
  const words = look ? (look.text ?? look.parts?.map((part) => part[0]).join("") ?? "") : "";
  const cells = sample.cells.map((one) => `${one[0]} ${one[4]}`);
  return [sample.id, sample.given, sample.suggested, sample.reason, sample.truth, ...cells, words].join("\n").toLowerCase();
}

/** The samples that the filters leave, in their order. */
function chosen() {
  const field = filters.elements;
  const words = field.search.value.toLowerCase().split(/\s+/).filter(Boolean);
  const [low, high] = [field.low, field.high].map((one) => (one.value === "" ? null : Number(one.value)));
  const found = samples.filter((sample) => {
    const decision = decisions.get(sample.id);
    return (
      allowsLabel(field.given.value, sample.given, sample.old) &&
      allowsLabel(field.suggested.value, sample.suggested, sample.new) &&
      allows(field.reason.value, sample.reason) &&
      allows(field.agreement.value, sample.agreement) &&
      (field.state.value === "" || field.state.value === (decision?.action ?? "undecided")) &&
      (chosenCell === null || (sample.given === chosenCell[0] && sample.suggested === chosenCell[1])) &&
      (low === null || sample.score >= low) &&
      (high === null || sample.score <= high) &&
      (words.length === 0 || words.every((word) => textOf(sample).includes(word)))
    );
  });
  return found.sort(ORDERS[field.sort.value]);
}
