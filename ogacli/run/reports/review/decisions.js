// What was decided on each sample: kept in the browser, or by the server; exported as decisions.json.
const ACTIONS = ["keep", "drop", "relabel"];
const REFUSED = {
  409: "Not saved: the decisions were changed elsewhere. Export these, reload the page, and load them.",
  507: "Not saved: the file of decisions cannot be written. Export them.",
};
const storageKey = `oga-review-${data.run}`;
const decisions = new Map();
const undone = []; // what to restore: [id, the decision before]
const problems = { keeping: "", loading: "" }; // what went wrong last, until it goes well or work goes on
let saving = null;
let sent = 0; // how often decisions were sent to the server

function isDecision(value) {
  return value && ACTIONS.includes(value.action) && (value.label === undefined || typeof value.label === "string");
}

/** Take decisions that were stored before; those on samples that are not on this page are kept, too. */
function take(list) {
  let taken = 0;
  for (const one of Array.isArray(list) ? list : []) {
    if (one && typeof one.id === "string" && isDecision(one)) {
      decisions.set(one.id, one.action === "relabel" ? { action: one.action, label: one.label } : { action: one.action });
      taken += 1;
    }
  }
  return taken;
}

function restore() {
  if (data.serve) {
    take(data.decisions);
    return;
  }
  try {
    take(JSON.parse(localStorage.getItem(storageKey) ?? "[]"));
  } catch {
    warn("keeping", "The browser does not keep decisions for this page. Export them before it is closed.");
  }
}

const list = () =>
  [...decisions].map(([id, one]) =>
    one.action === "relabel" ? { id, action: one.action, label: one.label } : { id, action: one.action },
  );
const exported = () => ({ schema_version: 1, run: data.run, decisions: list() });

function save() {
  clearTimeout(saving);
  saving = null;
  if (data.serve) {
    sent += 1;
    const request = { method: "PUT", body: JSON.stringify(exported()), keepalive: decisions.size < 500 };
    fetch(`decisions/${data.page}/${sent}`, request)
      .then((answer) => (answer.ok ? "" : REFUSED[answer.status] ?? "The server refused the decisions. Export them."))
      .catch(() => "The server does not answer. Export the decisions before the page is closed.")
      .then((text) => warn("keeping", text));
    return;
  }
  try {
    localStorage.setItem(storageKey, JSON.stringify(list()));
    warn("keeping", "");
  } catch {
    warn("keeping", "The browser does not keep these decisions. Export them before the page is closed.");
  }
}

function changed() {
  saving ??= setTimeout(save, 150);
  warn("loading", "");
  showProgress();
}
addEventListener("pagehide", () => saving && save());

function set(id, decision) {
  if (decision) decisions.set(id, decision);
  else decisions.delete(id);
}

/** Decide on a sample; the same decision once more takes it back. */
function decide(sample, action, label) {
  const before = decisions.get(sample.id);
  const same = before && before.action === action && before.label === label;
  undone.push([sample.id, before]);
  set(sample.id, same ? null : label === undefined ? { action } : { action, label });
  changed();
  announce(`${sample.id}: ${spoken(decisions.get(sample.id), sample)}`);
  return !same;
}

/** Take back the last decision; returns its sample. */
function undo() {
  const last = undone.pop();
  if (!last) {
    announce("Nothing to undo");
    return null;
  }
  set(...last);
  changed();
  const sample = byId.get(last[0]);
  announce(`Undone: ${last[0]} is ${spoken(last[1], sample)}`);
  return sample;
}

function spoken(decision, sample) {
  if (!decision) return "undecided";
  if (decision.action !== "relabel") return decision.action;
  return `relabel ${data.kind === "tags" ? changedWords(decision.label, sample) : `as ${shownLabel(decision.label)}`}`;
}

function download() {
  const file = new Blob([JSON.stringify(exported(), null, 1) + "\n"], { type: "application/json" });
  const link = el("a", { href: URL.createObjectURL(file), download: "decisions.json" });
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 10000);
  announce(`${plural(decisions.size, "decision")} exported as decisions.json`);
}

/** Add the decisions of a file that was exported before. */
async function upload(file) {
  let found = null;
  try {
    found = JSON.parse(await file.text());
  } catch {
    // told below
  }
  if (!found || found.schema_version !== 1 || !Array.isArray(found.decisions)) {
    warn("loading", `${file.name} holds no decisions of this tool.`);
    return;
  }
  const taken = take(found.decisions);
  undone.length = 0;
  changed();
  announce(`${plural(taken, "decision")} added from ${file.name}`);
}

function announce(text) {
  $("#told").textContent = text;
}

function warn(of, text) {
  problems[of] = text;
  $("#problem").textContent = Object.values(problems).filter(Boolean).join(" ");
  $("#problem").hidden = $("#problem").textContent === "";
}

function showProgress() {
  const counts = { keep: 0, drop: 0, relabel: 0 };
  let here = 0;
  for (const [id, one] of decisions) {
    counts[one.action] += 1;
    here += byId.has(id);
  }
  const parts = ACTIONS.filter((action) => counts[action]).map((action) => `${count(counts[action])} ${action}`);
  $("#progress").value = here;
  $("#decided").textContent =
    `${count(here)} of ${count(samples.length)} decided` + (parts.length ? `: ${parts.join(", ")}` : "");
  $("#export").disabled = decisions.size === 0;
  $("#undo").disabled = undone.length === 0;
}
