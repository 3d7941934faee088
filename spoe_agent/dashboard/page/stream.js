// The agent's stream of scenes. Read by fetch and not by EventSource, which would not tell why there is none. Where a key is
// asked for, the browser asks its user, and sends it with everything that is asked for here.

const SILENT_MS = 5000;
const AGAIN_MS = 1000;

// Asks the agent. Returns what it said; throws an Error in its words.
export async function ask(path, options = {}) {
  const answer = await fetch(path, { ...options, signal: AbortSignal.timeout(SILENT_MS) });
  const found = await answer.json().catch(() => ({}));
  if (!answer.ok) throw new Error(found.error ?? `the agent answered ${answer.status}`);
  return found;
}

// Follows the stream for ever: `took` gets each scene, `lost` why there is none. Nothing is asked for while nobody
// looks at the page.
export async function follow(took, lost) {
  for (;;) {
    await visible();
    const ends = new AbortController();
    const hide = () => document.hidden && ends.abort("hidden");
    document.addEventListener("visibilitychange", hide);
    try {
      await read(took, ends);
      lost("it closed the stream");
    } catch (error) {
      if (ends.signal.reason !== "hidden") lost(ends.signal.reason ?? error.message, error.isRefusal);
    }
    document.removeEventListener("visibilitychange", hide);
    await new Promise((resolve) => setTimeout(resolve, AGAIN_MS));
  }
}

function visible() {
  if (!document.hidden) return Promise.resolve();
  return new Promise((resolve) => {
    document.addEventListener("visibilitychange", resolve, { once: true });
  });
}

async function read(took, ends) {
  let silence = 0;
  const hush = () => {
    clearTimeout(silence);
    silence = setTimeout(() => ends.abort("it is there, and says nothing: it hangs or is stopped"), SILENT_MS);
  };
  hush();
  try {
    const answer = await fetch("events", { signal: ends.signal });
    if (!answer.ok) {
      const refused = new Error((await answer.json().catch(() => ({}))).error ?? `it answered ${answer.status}`);
      refused.isRefusal = answer.status === 401 || answer.status === 403;
      throw refused;
    }
    const reader = answer.body.pipeThrough(new TextDecoderStream()).getReader();
    let rest = "";
    for (;;) {
      const { done, value } = await reader.read();
      if (done) return;
      hush();
      const events = (rest + value).split("\n\n");
      rest = events.pop();
      // Of several that waited only the newest is worth showing.
      if (events.length) took(JSON.parse(events.at(-1).replace(/^data: /, "")));
    }
  } finally {
    clearTimeout(silence);
  }
}
