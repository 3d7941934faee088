"""A scene on a screen of so many lines: what is wrong, the fleet, who waits, decisions as far as there is room."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from rich.text import Text

from spoe_agent.top.columns import GLYPHS, OF_GRADE, OF_HEALTH, bar, colour, line, short

FAULTS_PART = 4
"""Faults have so many times fewer lines than there are."""
LEAST_BELOW = 4
"""Lines for who waits and for decisions, whatever the fleet's size."""
CELL_WIDTH = 20


def screen(scene: dict[str, Any], lost: str, width: int, height: int) -> list[Text]:
    """Return the lines. `lost`: why the scene is an old one; "": it is not."""
    lines = [_head(scene, lost)]
    lines.append(Text(scene["asks"], "dim"))
    lines += [without(lost)] if lost else []
    faults = scene["faults"]
    most = height // FAULTS_PART
    lines += [_fault(one) for one in faults[:most]]
    if len(faults) > most:
        lines.append(Text(f"and {len(faults) - most} more", "dim"))
    lines.append(Text())
    lines += _fleet(scene["instances"], width, height - len(lines) - LEAST_BELOW)
    lines.append(Text())
    lines += _queue(scene["hold"])
    lines += _decisions(scene["decisions"])
    for one in lines:
        one.no_wrap = True
        one.truncate(width, overflow="ellipsis")
    return lines[:height]


def without(why: str) -> Text:
    """Return the line that says why there is no scene."""
    return Text(f"The agent does not answer: {why}", "bold red")


def _head(scene: dict[str, Any], lost: str) -> Text:
    instances = scene["instances"]
    up = sum(one["health"] == "up" for one in instances)
    loads = sum(len(one["loads"]) for one in instances)
    head = Text("pointsman ", "bold").append("lost  " if lost else "live  ", "bold red" if lost else "green")
    head.append(f"{up}/{len(instances)} up", "yellow" if up < len(instances) else "")
    head.append(f"  {scene['grants']} in flight")
    head.append(f"  {scene['hold']['length']} wait", "yellow" if scene["hold"]["length"] else "")
    head.append(f"  {loads} load")
    return head.append(f"  {scene['haproxy']['fell_back']} fell back", "dim")


def _fault(one: dict[str, str]) -> Text:
    where = f"{one['where']}: " if one["where"] else ""
    return Text(f"{'✕' if one['grade'] == 'bad' else '!'} {where}{one['what']}", OF_GRADE[one["grade"]])


def _fleet(instances: list[dict[str, Any]], width: int, room: int) -> list[Text]:
    """Return a line for each instance; where these are more than there is room for, a few in each line."""
    if len(instances) <= room:
        name_width = min(12, max(len(one["name"]) for one in instances))
        return [line(one, max(10, min(40, width // 4)), name_width) for one in instances]
    across = max(1, width // CELL_WIDTH)
    rows = [instances[start : start + across] for start in range(0, len(instances), across)]
    lines = [Text().join(map(_cell, row)) for row in rows]
    if len(lines) <= room:
        return lines
    shown = max(1, room - 1)
    return [*lines[:shown], Text(f"and {len(instances) - shown * across} more", "dim")]


def _cell(one: dict[str, Any]) -> Text:
    health = one["health"]
    grade = next((sign["grade"] for sign in one["signs"] if sign["grade"] != "note"), "")
    cell = Text(f"{one['name'][:8]:8}", OF_GRADE[grade])
    cell.append(GLYPHS.get(health, "?"), OF_HEALTH.get(health, ""))
    return cell.append_text(bar(one, CELL_WIDTH - 12)).append(" ")


def _queue(hold: dict[str, Any]) -> Iterator[Text]:
    for one in hold["requests"][:3]:
        waits = Text(f"waits {one['age_s']:4.0f} s ", "yellow")
        yield waits.append(short(one["model"]), colour(one["model"])).append(f"  {one['why']}", "dim")
    if hold["length"] > 3:
        yield Text(f"and {hold['length'] - 3} more wait", "yellow")


def _decisions(decisions: list[dict[str, Any]]) -> Iterator[Text]:
    for one in decisions:
        text = Text(f"{one['age_s']:5.0f} s ", "dim")
        text.append(f"{short(one['model'])[:24]:24} ", colour(one["model"]))
        text.append(f"{one['to'] or one['action']:8} ", OF_GRADE[one["grade"]])
        first = "" if one["first_s"] is None else f"{one['first_s']:.2f} s"
        text.append(f"{first:>8} {one['end'] or 'runs':>8} ")
        yield text.append(one["why"], "dim")
