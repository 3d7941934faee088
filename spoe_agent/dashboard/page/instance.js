// One instance in a dialog: everything that is known of it, and taking it out by hand.

import { age, byId, el, setText, size } from "./dom.js";
import { STATES, deviceWords, factWords, leftWords } from "./fleet.js";
import { ask } from "./stream.js";

let shown = "";
let drawn = "";

export function openInstance(name, scene) {
  shown = name;
  drawn = "";
  setText(byId("by-hand-said"), "");
  showInstance(scene);
  byId("instance").showModal();
}

export function showInstance(scene) {
  const one = scene.instances.find((instance) => instance.name === shown);
  if (!one) return;
  setText(byId("instance-title"), one.name);
  byId("by-hand").dataset.what = one.drained ? "ready" : "drain";
  setText(byId("by-hand"), one.drained ? "Let it serve again" : "Drain: nothing new goes there");
  const lines = details(one);
  const text = JSON.stringify(lines);
  if (text === drawn) return;
  drawn = text;
  byId("instance-body").replaceChildren(
    el("dl", {}, ...lines.flatMap(([what, said]) => [el("dt", {}, what), el("dd", {}, said)])),
  );
}

function details(one) {
  const total = one.total_bytes;
  return [
    ["Health", `${STATES[one.health] ?? "?"} ${one.health} for ${age(one.since_s)}: ${one.evidence}`],
    ...one.signs.map((sign) => ["", sign.what]),
    ["Requests", factWords(one)],
    ...one.loaded.map((model) => ["Loaded", loadedWords(one, model)]),
    ...one.loads.map((load) => ["Loads", `${load.model}, ${size(load.size_bytes)}, ${leftWords(load)}`]),
    ...one.preloading.map((model) => ["To load again", model]),
    ...Object.keys(one.others).map((model) => ["Used past Pointsman", model]),
    ...(total ? [["GPU memory", memoryWords(one, total)]] : []),
    ...(one.gpus?.devices ?? []).map((device) => ["GPU", gpuWords(device)]),
    ["Ollama", `${one.version || "version unknown"}, its lists are ${age(one.loaded_age_s) || "not read yet"} old`],
    ["GPU readings", one.gpus ? `${age(one.gpus.age_s) || "none,"} old` : deviceWords(one) || "none"],
  ];
}

function loadedWords(one, model) {
  const cpu = model.size_bytes - model.vram_bytes;
  const parts = [model.model, size(model.vram_bytes), `${one.in_flight[model.model] ?? 0} of ${model.slots} slots`];
  if (model.context_length) parts.push(`${model.context_length} tokens each`);
  if (cpu > 0) parts.push(`${size(cpu)} of it on the CPU`);
  if (one.leaving.includes(model.model)) parts.push(`must go${one.reserved ? ` for ${one.reserved}` : ""}`);
  return parts.join(", ");
}

function memoryWords(one, total) {
  const foreign = one.gpus?.foreign_bytes;
  return size(total) + (foreign ? `, other programs hold ${size(foreign)}` : "");
}

function gpuWords(device) {
  const parts = [device.name ?? "GPU", device.uuid];
  if (device.utilisation !== null) parts.push(`${Math.round(100 * device.utilisation)} % busy`);
  if (device.temperature_c !== null) parts.push(`${Math.round(device.temperature_c)} °C`);
  if (device.power_w !== null) parts.push(`${Math.round(device.power_w)} of ${Math.round(device.power_limit_w ?? 0)} W`);
  if (device.throttle.length) parts.push(`held down: ${device.throttle.join(", ")}`);
  if (device.fault) parts.push(device.fault);
  return parts.join(", ");
}

export function actByHand() {
  byId("by-hand").addEventListener("click", async () => {
    const said = byId("by-hand-said");
    const { what } = byId("by-hand").dataset;
    setText(said, "…");
    try {
      const answer = await ask(`../instances/${encodeURIComponent(shown)}/${what}`, { method: "POST" });
      setText(said, [`${shown} is ${answer.health}.`, ...answer.said].join(" "));
    } catch (error) {
      setText(said, error.message);
    }
  });
}
