"""The official ollama client changes the models of URL; FILE is uploaded. Prints what it got as one JSON object.

Its progress is shown as the library's own example shows it: a bar is closed when another digest comes.
"""

import json
import sys

import ollama

url, file = sys.argv[1:]
client = ollama.Client(host=url)
statuses, digests, steps = [], [], []
for progress in client.pull("mistral:7b", stream=True):
    if not progress.digest:
        statuses.append(progress.status)
        continue
    if not digests or digests[-1] != progress.digest:
        digests.append(progress.digest)
    steps.append((progress.digest, (progress.completed or 0) / progress.total))
digest = client.create_blob(file)
client.copy("mistral:7b", "twin")
made = client.create(model="mine", files={"m.gguf": digest})
client.delete("twin")
missing = []
for ask in (
    lambda: client.delete("twin"),
    lambda: client.pull("nobody"),
    lambda: list(client.pull("nobody", stream=True)),
):
    try:
        ask()
    except ollama.ResponseError as error:
        missing.append([error.status_code, error.error])
print(
    json.dumps(
        {
            "statuses": statuses,
            "bars": len(digests),
            "digests": len(set(digests)),
            "rises": steps == sorted(steps, key=lambda step: (digests.index(step[0]), step[1])),
            "ends": [part for _, part in steps].count(1.0),
            "again": client.pull("mistral:7b").status,
            "made": made.status,
            "models": sorted(model.model for model in client.list().models),
            "missing": missing,
        }
    )
)
