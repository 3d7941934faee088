// Calls of Vercel's AI SDK (npm package `ai`) at URL, through its two kinds of provider.
import { createOpenAICompatible } from "@ai-sdk/openai-compatible";
import { embedMany, generateText, streamText } from "ai";
import { createOllama } from "ollama-ai-provider-v2";
import { all, make } from "./calls.mjs";

const url = process.argv[2];
const native = createOllama({ baseURL: `${url}/api` });
const compatible = createOpenAICompatible({ name: "front", baseURL: `${url}/v1`, includeUsage: true });
const few = { prompt: "hello", maxOutputTokens: 8, maxRetries: 0 };
const told = ({ text, finishReason, usage }) => ({ text, finishReason, tokens: usage.outputTokens });

async function streamed(model) {
  const errors = [];
  const stream = streamText({ ...few, model, onError: ({ error }) => errors.push(error) });
  const texts = await all(stream.textStream);
  if (errors.length) throw errors[0];
  return { texts, finishReason: await stream.finishReason };
}

await make({
  "text of ollama": async () => told(await generateText({ ...few, model: native("alpha") })),
  "stream of ollama": () => streamed(native("alpha")),
  "embeddings of ollama": async () =>
    (await embedMany({ model: native.embedding("embed"), values: ["one", "two"] })).embeddings.map((one) => one.slice(0, 4)),
  "unknown model of ollama": () => generateText({ ...few, model: native("nobody-has-this") }),
  "unknown model in a stream of ollama": () => streamed(native("nobody-has-this")),
  "text of openai": async () => told(await generateText({ ...few, model: compatible("alpha") })),
  "stream of openai": () => streamed(compatible("alpha")),
  "embeddings of openai": async () =>
    (await embedMany({ model: compatible.textEmbeddingModel("embed"), values: ["one", "two"] })).embeddings.map((one) => one.slice(0, 4)),
  "unknown model of openai": () => generateText({ ...few, model: compatible("nobody-has-this") }),
  "unknown model in a stream of openai": () => streamed(compatible("nobody-has-this")),
});
