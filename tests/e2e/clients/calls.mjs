// As calls.py: makes calls one after the other and prints what each answered as one JSON object.
export const HELLO = [{ role: "user", content: "hello" }];
export const WEATHER = {
  type: "function",
  function: {
    name: "weather",
    description: "Tell the weather.",
    parameters: { type: "object", properties: { city: { type: "string" } }, required: ["city"] },
  },
};
export const SHAPE = { type: "object", properties: { name: { type: "string" } }, required: ["name"] };

export async function all(stream) {
  const found = [];
  for await (const one of stream) found.push(one);
  return found;
}

export async function steps(progress) {
  const lines = await all(progress);
  return {
    statuses: [...new Set(lines.map((line) => (line.digest ? "pulling" : line.status)))],
    files: [...new Set(lines.map((line) => line.digest).filter(Boolean))].sort(),
  };
}

export async function until(ask, isSo) {
  const ends = Date.now() + 10000;
  let said;
  while (!isSo((said = await ask())) && Date.now() < ends) await new Promise((resume) => setTimeout(resume, 100));
  return said;
}

export async function make(calls) {
  const found = {};
  for (const [name, call] of Object.entries(calls)) {
    try {
      found[name] = (await call()) ?? null;
    } catch (error) {
      const status = error.status ?? error.status_code ?? error.statusCode ?? null;
      found[name] = { raised: error.name, status, text: error.message };
    }
  }
  process.stdout.write(JSON.stringify(found));
}
