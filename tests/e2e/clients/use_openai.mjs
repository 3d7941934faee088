// Calls of the npm package `openai` at URL.
import OpenAI from "openai";
import { all, HELLO, make, SHAPE, WEATHER } from "./calls.mjs";

const client = new OpenAI({ baseURL: `${process.argv[2]}/v1`, apiKey: "unused", maxRetries: 0 });
const few = { model: "alpha", messages: HELLO, max_tokens: 8 };
const chat = (more) => client.chat.completions.create({ ...few, ...more });
const format = { type: "json_schema", json_schema: { name: "shape", schema: SHAPE } };
await make({
  models: async () => all(await client.models.list()),
  model: () => client.models.retrieve("alpha"),
  chat: () => chat({}),
  "chat in a stream": async () => all(await chat({ stream: true, stream_options: { include_usage: true } })),
  "chat with tools": () => chat({ tools: [WEATHER] }),
  "chat in a shape": () => chat({ response_format: format }),
  completion: () => client.completions.create({ model: "alpha", prompt: "hello", max_tokens: 8 }),
  response: () => client.responses.create({ model: "alpha", input: "hello", max_output_tokens: 8 }),
  embeddings: () => client.embeddings.create({ model: "embed", input: ["one", "two"], dimensions: 4 }),
  "chat with an unknown model": () => chat({ model: "nobody-has-this" }),
  "stream of an unknown model": () => chat({ model: "nobody-has-this", stream: true }),
  "unknown model": () => client.models.retrieve("nobody-has-this"),
});
