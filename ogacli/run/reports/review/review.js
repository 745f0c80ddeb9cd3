// Pages, focus and keys.
const PER_PAGE = 24;
let found = [];
let page = 0;
const cards = () => [...document.querySelectorAll("#samples > li")];
const pages = () => Math.max(1, Math.ceil(found.length / PER_PAGE));

/** Show a page of the samples that the filters leave. */
function show(number, { focus = null } = {}) {
  found = chosen();
  page = Math.min(Math.max(0, number), pages() - 1);
  const part = found.slice(page * PER_PAGE, (page + 1) * PER_PAGE);
  $("#samples").replaceChildren(...part.map(card));
  $("#samples").classList.toggle("pictures", data.serve || part.some((one) => looks.get(one.position)?.picture));
  $("#shown").textContent = found.length === samples.length ? plural(found.length, "sample") : `${count(found.length)} of ${plural(samples.length, "sample")}`;
  for (const place of document.querySelectorAll(".pages")) {
    place.hidden = pages() < 2;
    place.querySelector("span").textContent = `Page ${count(page + 1)} of ${count(pages())}`;
    place.querySelector(".before").disabled = page === 0;
    place.querySelector(".after").disabled = page + 1 === pages();
  }
  $("#nothing").hidden = found.length > 0;
  markCell();
  showProgress();
  const first = cards()[focus === "last" ? part.length - 1 : 0];
  if (first) first.tabIndex = 0;
  if (focus !== null && first) first.focus();
}

function focusOn(article) {
  for (const one of cards()) one.tabIndex = one === article ? 0 : -1;
  article.focus();
}

function move(article, step) {
  const all = cards();
  const next = all.indexOf(article) + step;
  if (all[next]) focusOn(all[next]);
  else if (step > 0 && page + 1 < pages()) show(page + 1, { focus: "first" });
  else if (step < 0 && page > 0) show(page - 1, { focus: "last" });
}

const cardOf = (sample) => cards().find((one) => one.sample === sample);

/** Decide on a sample. By key the next one is focused; by button the focus stays. */
function act(sample, action, label, stay = false) {
  const decided = decide(sample, action, label);
  const article = cardOf(sample);
  if (article) mark(article);
  return decided && !stay;
}

function toggle(sample) {
  const article = cardOf(sample);
  const button = article.querySelector(".compare");
  const open = article.querySelector(".beside");
  if (open) open.remove();
  else article.append(besideOf(sample));
  article.classList.toggle("open", !open);
  button.setAttribute("aria-expanded", String(!open));
  button.textContent = open ? "Compare" : "Close";
}

function back() {
  const sample = undo();
  if (!sample) return;
  const article = cardOf(sample);
  if (article) {
    mark(article);
    focusOn(article);
  } else {
    const place = found.indexOf(sample);
    if (place >= 0) show(Math.floor(place / PER_PAGE));
    const there = cardOf(sample);
    if (there) focusOn(there);
  }
}

const KEYS = {
  k: (article) => act(article.sample, "keep", undefined) && move(article, 1),
  d: (article) => act(article.sample, "drop", undefined) && move(article, 1),
  r: (article) => {
    if (!article.querySelector("[data-action=relabel]")) announce("No label is suggested. Compare offers the others.");
    else if (act(article.sample, "relabel", article.sample.new)) move(article, 1);
  },
  u: back,
  c: (article) => toggle(article.sample),
  ArrowRight: (article) => move(article, 1),
  ArrowDown: (article) => move(article, 1),
  ArrowLeft: (article) => move(article, -1),
  ArrowUp: (article) => move(article, -1),
  Home: () => cards().length && focusOn(cards()[0]),
  End: () => cards().length && focusOn(cards().at(-1)),
  n: () => page + 1 < pages() && show(page + 1, { focus: "first" }),
  p: () => page > 0 && show(page - 1, { focus: "first" }),
};

function pressed(event) {
  if (event.altKey || event.ctrlKey || event.metaKey || event.target.closest("select, input, textarea")) return;
  const article = event.target.closest("#samples > li");
  const run = KEYS[event.key.length === 1 ? event.key.toLowerCase() : event.key];
  if (!article || !run) return;
  event.preventDefault();
  run(article);
}

function begin() {
  $("#review").classList.add("ready");
  $("#progress").max = samples.length;
  restore();
  prepareFilters();
  prepareMatrix();
  $("#samples").addEventListener("keydown", pressed);
  $("#samples").addEventListener("focusin", (event) => {
    const article = event.target.closest("#samples > li");
    for (const one of cards()) one.tabIndex = one === article ? 0 : -1;
  });
  $("#start").addEventListener("click", () => {
    const next = found.findIndex((one) => !decisions.has(one.id));
    if (next < 0) {
      announce("All of these samples are decided");
      return;
    }
    show(Math.floor(next / PER_PAGE));
    focusOn(cardOf(found[next]));
  });
  $("#undo").addEventListener("click", back);
  $("#export").addEventListener("click", download);
  $("#import").addEventListener("change", async (event) => {
    for (const file of event.target.files) await upload(file);
    show(page);
  });
  $("#import").addEventListener("click", (event) => {
    event.target.value = ""; // so that the same file can be chosen again
  });
  for (const button of document.querySelectorAll(".pages .before")) button.addEventListener("click", () => show(page - 1, { focus: "first" }));
  for (const button of document.querySelectorAll(".pages .after")) button.addEventListener("click", () => show(page + 1, { focus: "first" }));
  show(0);
}
begin();
