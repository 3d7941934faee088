// Puts the page together: takes scenes, shows them, and says when there are none.

import { age, byId, el, keyed, setAttribute, setText, seconds, unnumbered } from "./dom.js";
import { showFleet } from "./fleet.js";
import { actByHand, openInstance, showInstance } from "./instance.js";
import { askOnSubmit, showDecisions, showQueue } from "./requests.js";
import { ask, follow } from "./stream.js";
import { showTrend } from "./trend.js";

let scene = null;
let takenAt = new Date();
let trendShown = -1;
let hour = null;

function took(found) {
  scene = found;
  takenAt = new Date();
  document.body.classList.remove("stale");
  byId("lost").hidden = true;
  setText(byId("link"), "live");
  setText(byId("asks"), found.asks);
  setText(byId("version"), `${found.version}, up ${age(found.up_s)}`);
  showFaults(found.faults);
  showFleet(found, (name) => openInstance(name, scene));
  showQueue(found.hold);
  showDecisions(found.decisions);
  showNumbers(found);
  if (byId("instance").open) showInstance(found);
  if (found.trend !== trendShown) readTrend(found.trend);
}

function lost(why, isRefusal) {
  document.body.classList.add("stale");
  setText(byId("link"), "lost");
  const since = scene ? `What is shown is of ${takenAt.toLocaleTimeString()}. ` : "";
  setText(
    byId("lost"),
    isRefusal
      ? `The agent refused this page: ${why}`
      : `The agent does not answer: ${why}. ${since}Requests go on without it meanwhile: HAProxy decides by its own map of models.`,
  );
  byId("lost").hidden = false;
}

async function readTrend(number) {
  trendShown = number;
  try {
    hour = await ask("trend");
    showTrend(hour);
  } catch {
    trendShown = -1;
  }
}

function showFaults(faults) {
  byId("wrong").hidden = !faults.length;
  const key = (one) => `${one.where} ${unnumbered(one.what)}`;
  keyed(byId("faults"), faults, key, (one) => el("li", {}, el("b", {}, one.where), el("span")), fillFault);
  document.title = faults.length ? `(${faults.length}) Pointsman` : "Pointsman";
}

function fillFault(node, one) {
  setAttribute(node, "data-grade", one.grade);
  setText(node.lastChild, one.what);
}

function showNumbers(found) {
  const up = found.instances.filter((one) => one.health === "up").length;
  const half = hour?.first_token_p50_s.findLast((value) => value !== null);
  const loads = found.instances.reduce((sum, one) => sum + one.loads.length, 0);
  const numbers = [
    ["up", `${up}/${found.instances.length}`, up < found.instances.length ? "doubt" : ""],
    ["in flight", `${found.grants}`, ""],
    ["waiting", `${found.hold.length}`, found.hold.length ? "doubt" : ""],
    ["loading", `${loads}`, ""],
    ["first token", half === undefined ? "–" : seconds(half), ""],
    ["fell back", `${found.haproxy.fell_back}`, found.haproxy.warning ? "bad" : ""],
  ];
  keyed(byId("numbers"), numbers, ([what]) => what, ([what]) => el("div", {}, el("dt", {}, what), el("dd")), number);
  const names = new Set(found.instances.flatMap((one) => one.loaded.map((model) => model.model)));
  keyed(byId("models"), [...names].sort(), (name) => name, (name) => el("option", { value: name }), () => {});
}

function number(node, [, value, grade]) {
  setText(node.lastChild, value);
  setAttribute(node, "data-grade", grade);
}

// A click beside a dialog closes it, as everywhere.
for (const dialog of document.querySelectorAll("dialog")) {
  dialog.addEventListener("click", (event) => event.target === dialog && dialog.close());
}
askOnSubmit();
actByHand();
follow(took, lost);
