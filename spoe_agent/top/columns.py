"""One instance in a line of a terminal: health, memory to scale, models with their slots."""

from __future__ import annotations

from typing import Any
from zlib import crc32

from rich.text import Text

GIB = 1 << 30
GLYPHS = {"up": "●", "down": "✕", "suspect": "▲", "recovering": "◐", "drained": "‖", "unknown": "?"}
OF_HEALTH = {"up": "green", "down": "bold red", "suspect": "bold red", "recovering": "yellow", "drained": "cyan"}
OF_GRADE = {"bad": "bold red", "doubt": "yellow", "note": "dim", "": ""}
OF_MODELS = ("blue", "magenta", "cyan", "green", "bright_blue", "bright_magenta", "bright_cyan", "bright_green")
NAME_WIDTH = 12


def colour(model: str) -> str:
    """Return a model's colour: the same everywhere, of those that every terminal has."""
    return OF_MODELS[crc32(model.encode()) % len(OF_MODELS)]


def short(model: str) -> str:
    """Return a model's name without what all have."""
    return model.removesuffix(":latest")


def line(one: dict[str, Any], bar_width: int, name_width: int) -> Text:
    """Return an instance."""
    health = one["health"]
    text = Text(no_wrap=True)
    text.append(f"{one['name'][:name_width]:{name_width}} ", "bold")
    text.append(f"{GLYPHS.get(health, '?')} {health[:9]:9} ", OF_HEALTH.get(health, ""))
    text.append_text(bar(one, bar_width))
    text.append(f" {one['used_bytes'] / GIB:5.1f}/{_or_unknown(one['total_bytes']):>5} ", "dim")
    return text.append_text(models(one))


def bar(one: dict[str, Any], width: int) -> Text:
    """Return the memory of an instance, a piece for each model."""
    whole = max(1, one["total_bytes"] or one["used_bytes"])
    cells: list[tuple[str, str]] = []
    for model in one["loaded"]:
        style = colour(model["model"])
        leaves = model["model"] in one["leaving"]
        cells += [("▒" if leaves else "█", style)] * _cells(model["vram_bytes"], whole, width)
    for load in _loading(one):
        cells += [("░", colour(load["model"]))] * _cells(load["size_bytes"], whole, width)
    cells += [("/", "white")] * _cells(foreign_bytes(one), whole, width)
    text = Text("▕", "dim")
    for sign, style in cells[:width]:
        text.append(sign, style)
    return text.append(" " * (width - len(cells[:width])) + "▏", "dim")


def _cells(size_bytes: int, whole: int, width: int) -> int:
    """Nothing that is there has none."""
    return max(1, round(width * size_bytes / whole)) if size_bytes else 0


def models(one: dict[str, Any]) -> Text:
    """Return its models: `a 2/4` has two of four slots in use, `(b 12s)` loads, `-c` must go."""
    text, flying = Text(), one["in_flight"]
    for model in one["loaded"]:
        name = model["model"]
        mark = "-" if name in one["leaving"] else ""
        cpu = "!cpu" if model["size_bytes"] > model["vram_bytes"] else ""
        text.append(f"{mark}{short(name)}", colour(name))
        text.append(f" {flying.get(name, 0)}/{model['slots']}{cpu}  ", "yellow" if cpu else "")
    for load in _loading(one):
        left = f"{load['left_s']:.0f}s" if load["left_s"] > 0 else "late"
        text.append(f"({short(load['model'])} {left})  ", colour(load["model"]))
    if one["reserved"]:
        text.append(f"-> {short(one['reserved'])}", "dim")
    return text


def foreign_bytes(one: dict[str, Any]) -> int:
    """Return what other programs hold, as far as is known."""
    found: int | None = (one["gpus"] or {}).get("foreign_bytes")
    return found or 0


def _loading(one: dict[str, Any]) -> list[dict[str, Any]]:
    """Loads of models that are not on the list: of a load with another context the model is."""
    listed = {model["model"] for model in one["loaded"]}
    return [load for load in one["loads"] if load["model"] not in listed]


def _or_unknown(size_bytes: int | None) -> str:
    return "?" if not size_bytes else f"{size_bytes / GIB:.1f}"
