// Calls of the npm package `ollama` at URL.
import { Ollama } from "ollama";
import { all, HELLO, make, SHAPE, steps, until, WEATHER } from "./calls.mjs";

const client = new Ollama({ host: process.argv[2] });
const options = { num_predict: 8 };
const chat = { model: "alpha", messages: HELLO, options };
await make({
  list: () => client.list(),
  version: () => client.version(),
  show: () => client.show({ model: "alpha" }),
  chat: () => client.chat(chat),
  "chat in a stream": async () => all(await client.chat({ ...chat, model: "ALPHA:latest", stream: true })),
  "chat with tools": () => client.chat({ ...chat, tools: [WEATHER] }),
  "chat in a shape": () => client.chat({ ...chat, format: SHAPE }),
  generate: () => client.generate({ model: "alpha", prompt: "hello", options }),
  "generate in a stream": async () => all(await client.generate({ model: "alpha", prompt: "hello", options, stream: true })),
  embed: () => client.embed({ model: "embed", input: ["one", "two"], dimensions: 4 }),
  ps: () => until(() => client.ps(), ({ models }) => models[0]?.name === "embed:latest" && models.length === 2),
  unload: () => client.generate({ model: "alpha", prompt: "", keep_alive: 0 }),
  "pull in a stream": async () => steps(await client.pull({ model: "mistral:7b", stream: true })),
  copy: () => client.copy({ source: "mistral:7b", destination: "twin" }),
  create: () => client.create({ model: "mine", from: "mistral:7b", system: "Be brief." }),
  delete: () => Promise.all(["twin", "mine", "mistral:7b"].map((model) => client.delete({ model }))),
  "chat with an unknown model": () => client.chat({ ...chat, model: "nobody-has-this" }),
  "stream of an unknown model": async () => all(await client.chat({ ...chat, model: "nobody-has-this", stream: true })),
  "chat that is given up": async () => {
    const stream = await client.chat({ ...chat, stream: true, options: { num_predict: 100000 } });
    setTimeout(() => client.abort(), 200);
    return all(stream);
  },
});
