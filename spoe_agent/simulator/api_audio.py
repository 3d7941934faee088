"""OpenAI's transcriptions as Ollama speaks them: a form with a file, answered by a model that hears."""

from __future__ import annotations

from aiohttp import web

from spoe_agent.simulator import asks, refusals
from spoe_agent.simulator.errors import BadBody
from spoe_agent.simulator.serving import BARE_JSON, json_answer, served
from spoe_agent.simulator.state import RECORD, instance_of
from spoe_agent.simulator.words import words


async def transcriptions(request: web.Request) -> web.StreamResponse:
    """POST /v1/audio/transcriptions (TranscriptionMiddleware). A second of sound is taken for 16 kB."""
    if not request.content_type.startswith("multipart/form-data"):
        raise BadBody("failed to parse multipart form: request Content-Type isn't multipart/form-data")
    try:
        form = await request.post()
    except ValueError:
        raise BadBody("failed to parse multipart form: multipart: NextPart: EOF") from None
    text, file = form.get("model"), form.get("file")
    if not isinstance(text, str) or not text:
        raise BadBody("model is required")
    request[RECORD].model = text
    if not isinstance(file, web.FileField):
        raise BadBody("file is required: http: no such file")
    sound = file.file.read()
    if not sound:
        raise BadBody("audio file is empty")
    model = refusals.find_model(instance_of(request).catalog, text)
    refusals.check_abilities(model, text, "chat")
    ask = asks.generation(text, model, "x" * (len(sound) // 16), None, False, {})
    await served(request, ask)
    said = "".join(words(ask.seed, 0, ask.work.output_tokens)).strip()
    if form.get("response_format") == "text":
        return web.Response(body=said.encode(), headers={"Content-Type": "text/plain"})
    return json_answer({"text": said}, media=BARE_JSON)
