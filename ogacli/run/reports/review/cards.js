// A sample as a card: what it is, why it is flagged, the buttons, and on request the samples beside it.
const ROLES = {
  given: (sample) => `Nearest samples labelled ${sample.given}`,
  suggested: (sample) => `Nearest samples labelled ${sample.suggested}`,
  nearest: () => "Nearest samples",
  same: () => "The same inputs",
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

function labels(sample) {
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
  if (data.classes.length && sample.suggested !== null && data.classes.includes(sample.suggested)) {
    group.append(choice(sample, "relabel", sample.suggested, `Relabel as ${sample.suggested}`));
  }
  group.append(
    el(
      "button",
      { type: "button", class: "compare", "aria-expanded": "false", onclick: () => toggle(sample) },
      "Compare",
    ),
  );
  return group;
}

function otherLabel(sample) {
  if (!data.classes.length) return null;
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
    el("div", { class: "facts" }, labels(sample), facts(sample), buttons(sample)),
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
  article.querySelector(".verdict")?.remove();
  if (decision) article.querySelector(".facts").prepend(el("p", { class: "verdict" }, spoken(decision)));
}
