// A sample as a card: what it is, why it is flagged, the buttons, and on request the samples beside it.
const ROLES = {
  given: (sample) => `Nearest samples labelled ${sample.given}`,
  suggested: (sample) => `Nearest samples labelled ${sample.suggested}`,
  nearest: () => "Nearest samples",
  same: () => "The same inputs",
  near: () => "Nearly the same inputs; of these the first is kept",
};

function drawn(look, id) {
  if (!look) return null;
  if (look.missing) return el("p", { class: "text dim" }, `Not shown: ${look.missing}.`);
  if (look.picture) {
    const image = el("img", { src: look.picture, alt: `Sample ${id}`, class: look.pixelated ? "pixelated" : null });
    return el("div", { class: "look" }, image);
  }
  if (look.parts) {
    const parts = look.parts.map(([text, share, level]) =>
      level ? el("mark", { class: `l${level}`, title: `${share} of the loss` }, text) : text,
    );
    return el("p", { class: "text" }, ...parts);
  }
  return el("p", { class: "text" }, look.text);
}

/** A place for a picture or text, which may come later. */
function shownAt(position, id) {
  const place = el("div", { class: "shown" });
  const put = (look) => {
    const found = drawn(look, id);
    if (found) place.append(found);
  };
  if (looks.has(position) || !data.serve) put(looks.get(position) ?? null);
  else lookAt(position).then(put);
  return place;
}

function fact(term, ...value) {
  return el("div", {}, el("dt", {}, term), el("dd", {}, ...value));
}

function facts(sample) {
  const right = sample.truth !== null && sample.truth === sample.given ? " (the given label is right)" : "";
  return el(
    "dl",
    {},
    fact("Rank", count(sample.rank)),
    fact("Score", sample.scoreText),
    fact("Reason", sample.reason),
    sample.agreement ? fact("Flagged by", `${sample.agreement} detectors`) : null,
    sample.truth !== null ? fact("True label", sample.truth, right) : null,
    fact("Sample", el("code", {}, sample.id)),
  );
}

/** The classes or targets that are more probably wrong than right. */
function cellsOf(sample) {
  if (!sample.cells.length) return null;
  const items = sample.cells.map(([cell, given, suggested, probability, reason, index]) => {
    const change = data.kind === "classes" ? reason : `${reason}: ${given} → ${suggested}`;
    const sure = el("span", { class: "dim", title: "probability that it is wrong" }, probability);
    return el("li", {}, el("strong", {}, cell), ` ${change} `, sure, data.kind === "tags" ? tagOf(sample, index) : null);
  });
  return el("ul", { class: "cells", "aria-label": "Parts of the label that are probably wrong" }, ...items);
}

function labels(sample) {
  if (data.kind === "tags" && sample.cells.length) return null; // the doubtful words say it
  const line = el("p", { class: "labels" }, el("span", { class: "given" }, sample.given));
  if (sample.suggested !== null) {
    line.append(
      " ",
      el("span", { class: "arrow", "aria-hidden": "true" }, "→"),
      el("span", { class: "unseen" }, "suggested instead: "),
      " ",
      el("strong", {}, sample.suggested),
    );
    if (sample.confidence) line.append(" ", el("span", { class: "dim", title: "probability of the suggested label" }, sample.confidence));
  }
  return line;
}

function choice(sample, action, label, text) {
  const key = action[0].toUpperCase();
  return el(
    "button",
    {
      type: "button",
      class: action,
      "data-action": action,
      "data-label": label ?? null,
      "aria-keyshortcuts": key,
      onclick: () => act(sample, action, label),
    },
    text,
  );
}

function buttons(sample) {
  const group = el("div", { class: "choices", role: "group", "aria-label": `Decision on ${sample.id}` });
  group.append(choice(sample, "keep", undefined, "Keep"), choice(sample, "drop", undefined, "Drop"));
  if (canSuggest(sample)) group.append(choice(sample, "relabel", sample.new, `Relabel as ${data.kind === "tags" ? "suggested" : shownLabel(sample.new)}`));
  group.append(
    el(
      "button",
      { type: "button", class: "compare", "aria-expanded": "false", onclick: () => toggle(sample) },
      "Compare",
    ),
  );
  return group;
}

const canSuggest = (sample) => data.kind !== null && sample.new !== null && (data.kind !== "class" || data.classes.includes(sample.new));

/** Fields for any other label: a list of classes, a box for each class, a list of tags for each word, or numbers. */
function otherLabel(sample) {
  if (data.kind === "tags") return otherTags(sample);
  if (data.kind === "classes") return otherClasses(sample);
  if (data.kind === "numbers") return otherNumbers(sample);
  return data.kind === "class" ? otherClass(sample) : null;
}

/** The label that was decided on, or else the suggested one, or else the given one. */
function current(sample) {
  const decision = decisions.get(sample.id);
  return decision?.action === "relabel" ? decision.label : (sample.new ?? sample.old);
}

/** Give another label; the same one once more does not take it back. */
function relabelAs(sample, label) {
  const decision = decisions.get(sample.id);
  if (decision?.action !== "relabel" || decision.label !== label) act(sample, "relabel", label, true);
}

function otherClasses(sample) {
  const on = new Set(partsOf(current(sample)));
  const boxes = data.classes.map((one) => {
    const box = el("input", { type: "checkbox", name: "class", value: one, checked: on.has(one) });
    return el("label", {}, box, ` ${one}`);
  });
  const set = el("fieldset", { class: "other classes" }, el("legend", {}, "Another set of classes"), ...boxes);
  set.addEventListener("change", () => {
    const chosenClasses = [...set.querySelectorAll("input:checked")].map((box) => box.value);
    relabelAs(sample, chosenClasses.join(SEPARATOR));
  });
  return set;
}

/** The tags that were decided on, or else the given ones. */
function tagsOf(sample) {
  const decision = decisions.get(sample.id);
  return partsOf(decision?.action === "relabel" ? decision.label : sample.old);
}

/** A word as it is shown: a doubtful one, one of the text in parts, or its number. */
function wordAt(sample, index) {
  const doubtful = sample.cells.find((one) => one[5] === index);
  const parts = looks.get(sample.position)?.parts;
  if (doubtful) return doubtful[0];
  return parts?.length === partsOf(sample.old).length ? parts[index][0].trim() : `word ${index + 1}`;
}

/** The words that get another tag. */
function changedWords(label, sample) {
  if (!sample) return "words";
  const old = partsOf(sample.old);
  const words = partsOf(label).flatMap((tag, i) => (tag === old[i] ? [] : [`${wordAt(sample, i)} as ${tag}`]));
  return words.join(", ") || "no word";
}

/** The list of tags of one word. */
function tagOf(sample, index) {
  const options = data.classes.map((one) => el("option", { value: `=${one}` }, one));
  const select = el("select", { name: "tag", "data-word": index, "aria-label": `Tag of ${wordAt(sample, index)}` }, ...options);
  select.value = `=${tagsOf(sample)[index]}`;
  select.addEventListener("change", () => {
    const label = tagsOf(sample).with(index, select.value.slice(1)).join(SEPARATOR);
    if (label === sample.old) act(sample, "keep", undefined, true);
    else relabelAs(sample, label);
  });
  return select;
}

function otherTags(sample) {
  const doubtful = new Set(sample.cells.map((one) => one[5]));
  const words = partsOf(sample.old).map((_, i) => (doubtful.has(i) ? null : el("label", {}, `${wordAt(sample, i)} `, tagOf(sample, i))));
  return el("fieldset", { class: "other" }, el("legend", {}, "Another tag of a word"), ...words);
}

function otherNumbers(sample) {
  const fields = partsOf(current(sample)).map((one, i) =>
    el("input", { type: "number", step: "any", name: "number", value: one, "aria-label": `Target ${i}` }),
  );
  const line = el("fieldset", { class: "other" }, el("legend", {}, "Another value"), ...fields);
  line.addEventListener("change", () => {
    if (fields.every((field) => field.value !== "")) relabelAs(sample, fields.map((field) => field.value).join(SEPARATOR));
  });
  return line;
}

function otherClass(sample) {
  const select = el("select", { name: "other" }, el("option", { value: "" }, "choose"));
  for (const one of data.classes) if (one !== sample.given) select.append(el("option", { value: `=${one}` }, one));
  const decision = decisions.get(sample.id);
  if (decision?.action === "relabel") select.value = `=${decision.label}`;
  select.addEventListener("change", () => select.value && act(sample, "relabel", select.value.slice(1), true));
  return el("label", { class: "other" }, "Another label ", select);
}

/** The nearest samples of the given and of the suggested class, and those with the same inputs. */
function besideOf(sample) {
  const columns = Object.keys(ROLES)
    .filter((role) => sample.beside[role]?.length)
    .map((role) => {
      const items = sample.beside[role].map((position) => {
        const other = others.get(position) ?? { id: String(position), given: "", flagged: false };
        return el(
          "li",
          {},
          shownAt(position, other.id),
          el("p", {}, el("span", { class: "given" }, other.given), other.flagged ? el("span", { class: "dim" }, " flagged") : ""),
          el("code", {}, other.id),
        );
      });
      return el("section", {}, el("h4", {}, ROLES[role](sample)), el("ol", {}, ...items));
    });
  const none = el("p", { class: "note" }, "No samples to compare with were saved for this one.");
  return el("div", { class: "beside" }, ...(columns.length ? columns : [none]), otherLabel(sample));
}

function card(sample) {
  const title = `sample-${sample.index}`;
  const article = el(
    "li",
    { id: title, tabindex: "-1", "aria-label": `Rank ${sample.rank}, sample ${sample.id}`, "data-id": sample.id },
    shownAt(sample.position, sample.id),
    el("div", { class: "facts" }, labels(sample), cellsOf(sample), facts(sample), buttons(sample)),
  );
  article.sample = sample;
  mark(article);
  return article;
}

/** Show on a card what was decided. */
function mark(article) {
  const decision = decisions.get(article.sample.id);
  article.dataset.decision = decision?.action ?? "";
  for (const button of article.querySelectorAll("[data-action]")) {
    const same = decision?.action === button.dataset.action && (decision.label ?? undefined) === button.dataset.label;
    button.setAttribute("aria-pressed", String(Boolean(same)));
  }
  for (const select of article.querySelectorAll(".cells select")) select.value = `=${tagsOf(article.sample)[select.dataset.word]}`;
  const other = article.querySelector(".other");
  if (other && !other.contains(document.activeElement)) other.replaceWith(otherLabel(article.sample));
  article.querySelector(".verdict")?.remove();
  if (decision) article.querySelector(".facts").prepend(el("p", { class: "verdict" }, spoken(decision, article.sample)));
}
