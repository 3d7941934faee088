// Who waits, what was decided, and why.

import { age, byId, el, keyed, setAttribute, setText, seconds } from "./dom.js";
import { hue, short } from "./fleet.js";
import { ask } from "./stream.js";

const SHOWN = 12;

export function showQueue(hold) {
  const more = hold.length - Math.min(hold.length, SHOWN);
  setText(byId("queue-said"), hold.length ? `${hold.length} wait, the oldest ${age(hold.oldest_s)}` : "Nobody waits.");
  byId("queue-said").classList.toggle("empty", !hold.length);
  const rows = hold.requests.slice(0, SHOWN);
  keyed(byId("queue"), rows, (one) => one.id, waiter, fillWaiter);
  setAttribute(byId("queue"), "data-more", more ? `and ${more} more` : "");
}

function waiter(one) {
  const why = whyButton(one.id, one.model);
  const said = el("span", { class: "waits" });
  const node = el("li", {}, why, said, el("small", {}, one.why));
  node.said = said;
  return node;
}

function fillWaiter(node, one) {
  const who = one.caller ? ` · ${one.caller.slice(0, 20)}` : "";
  setText(node.said, `${age(one.age_s)}${one.priority ? ` · class ${one.priority}` : ""}${who}`);
}

// It holds still while somebody points at it, or has the focus in it: else nobody could read a busy fleet's.
export function showDecisions(decisions) {
  if (byId("decisions").matches(":hover, :focus-within")) return;
  byId("no-decisions").hidden = decisions.length > 0;
  keyed(byId("decisions"), decisions, (one) => one.id, decision, fillDecision);
}

function decision(one) {
  const cells = ["to", "why", "held", "first", "end", "ago"].map((name) => el("td", { class: name }));
  const node = el("tr", {}, el("th", { scope: "row" }, whyButton(one.id, one.model)), ...cells);
  node.cells_ = cells;
  return node;
}

function fillDecision(node, one) {
  const [to, why, held, first, end, ago] = node.cells_;
  setAttribute(node, "data-grade", one.grade);
  setText(to, one.to || { hold: "waits", reject: "refused" }[one.action] || one.action);
  setText(why, one.why);
  setText(held, seconds(one.held_s));
  setText(first, seconds(one.first_s));
  setText(end, one.end || "runs");
  setText(ago, age(one.age_s));
}

function whyButton(id, model) {
  const button = el("button", { type: "button", class: "model", title: `Why? ${model}` }, short(model) || "no model");
  button.style.setProperty("--hue", hue(model));
  button.addEventListener("click", () => explain(`explained?id=${encodeURIComponent(id)}`));
  return button;
}

export function askOnSubmit() {
  byId("ask").addEventListener("submit", (event) => {
    event.preventDefault();
    explain(`explained?model=${encodeURIComponent(byId("ask-model").value)}`);
  });
}

async function explain(path) {
  const body = byId("explained-body");
  try {
    body.replaceChildren(...words(await ask(path)));
  } catch (error) {
    body.replaceChildren(el("p", { class: "alarm" }, error.message));
  }
  byId("explained").showModal();
  body.focus();
}

function words(found) {
  const head = el("thead", {}, el("tr", {}, ...found.headings.map((text) => el("th", { scope: "col" }, text))));
  const rows = found.rows.map((row) => {
    const node = el("tr", { "data-chosen": row[0] === ">" }, ...row.map((text) => el("td", {}, text)));
    if (row.length < found.headings.length) node.lastChild.setAttribute("colspan", found.headings.length - row.length + 1);
    return node;
  });
  const table = el("div", { class: "scroll", tabindex: "0" }, el("table", {}, head, el("tbody", {}, ...rows)));
  const lines = (texts) => texts.map((text) => el("li", {}, text));
  return [
    el("p", { class: "headline" }, found.headline),
    ...(rows.length ? [table] : []),
    ...(found.notes.length ? [el("ul", { class: "notes" }, ...lines(found.notes))] : []),
    ...(found.end ? [el("p", {}, found.end)] : []),
    ...(found.meanings.length ? [el("ul", { class: "meanings" }, ...lines(found.meanings))] : []),
  ];
}
