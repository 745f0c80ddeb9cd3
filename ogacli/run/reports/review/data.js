"use strict";
// The data of the page, as objects. Texts reach the page only by textContent and attributes, never as markup.
const data = JSON.parse(document.querySelector("#data").textContent);
const name = (index) => (index === null || index === undefined ? null : data.names[index]);
const samples = data.samples.id.map((id, i) => ({
  index: i,
  id,
  position: data.samples.position[i],
  given: name(data.samples.given[i]) ?? "none",
  suggested: name(data.samples.suggested[i]),
  old: data.samples.old ? data.samples.old[i] : name(data.samples.given[i]), // labels as decisions have them
  new: data.samples.new ? data.samples.new[i] : name(data.samples.suggested[i]),
  cells: data.samples.cells ? data.samples.cells[i] : [],
  confidence: data.samples.confidence[i],
  sure: data.samples.sure[i],
  score: data.samples.score[i],
  scoreText: data.samples.score_text[i],
  rank: data.samples.rank[i],
  reason: data.samples.reason[i],
  truth: data.samples.truth && name(data.samples.truth[i]),
  agreement: data.samples.agreement && data.samples.agreement[i],
  beside: data.samples.beside[i] ?? {},
}));
const SEPARATOR = "|"; // between the classes or numbers of a label
const ofClasses = data.kind === "classes" || data.kind === "tags"; // a label has several classes, or one for each word
const ofParts = ofClasses || data.kind === "numbers";
const partsOf = (label) => (label ? label.split(SEPARATOR) : []);
const shownLabel = (label) => (data.kind === "class" ? label : partsOf(label).join(", ") || "no class");
const byId = new Map(samples.map((sample) => [sample.id, sample]));
const others = new Map(
  data.others.position.map((position, i) => [
    position,
    {
      position,
      id: data.others.id[i],
      given: name(data.others.given[i]) ?? "none",
      flagged: data.others.flagged[i] === 1,
    },
  ]),
);
const looks = new Map(Object.entries(data.looks).map(([position, look]) => [Number(position), look]));

const $ = (selector) => document.querySelector(selector);

/** An element with attributes and children; texts stay texts. */
function el(tag, attributes = {}, ...children) {
  const element = document.createElement(tag);
  for (const [key, value] of Object.entries(attributes)) {
    if (key.startsWith("on")) element.addEventListener(key.slice(2), value);
    else if (value === true) element.setAttribute(key, "");
    else if (value !== false && value !== null && value !== undefined) element.setAttribute(key, value);
  }
  element.append(...children.filter((child) => child !== null && child !== undefined));
  return element;
}

const count = (number) => number.toLocaleString("en-US");
const plural = (number, word) => `${count(number)} ${word}${number === 1 ? "" : "s"}`;

/** What is shown of a sample; asked from the server where there is one. */
async function lookAt(position) {
  if (!looks.has(position) && data.serve) {
    try {
      const answer = await fetch(`look/${position}`);
      looks.set(position, answer.ok ? await answer.json() : { missing: "cannot be read" });
    } catch {
      return { missing: "the server does not answer" };
    }
  }
  return looks.get(position) ?? null;
}
