"""A replay as a picture (SVG): first tokens, waiting and loads over time, as they were and as they would have been."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from xml.sax.saxutils import escape

from spoe_agent.replay.report import figures
from spoe_agent.replay.running import Replay, Sample

WIDTH, PANEL, LEFT, TOP, GAP = 900, 150, 70, 70, 50
BINS = 60
WAS, WOULD = "#767676", "#0b62a4"

PANELS: tuple[tuple[str, Callable[[Sequence[Sample]], float]], ...] = (
    ("first token, mean, s", lambda samples: figures(samples).first_mean_s),
    ("waited, mean, s", lambda samples: figures(samples).waited_mean_s),
    ("loads begun", lambda samples: float(figures(samples).loads)),
)


def svg(replay: Replay, title: str) -> str:
    """Return the picture: a panel for each figure, both replays as lines, dashed what was."""
    span_s = max(1.0, *(one.at_s for one in replay.was))
    bins = min(BINS, max(1, len(replay.was) // 10))
    parts = [_text(LEFT, 20, title, 15), *_legend(LEFT, 38)]
    for number, (name, value) in enumerate(PANELS):
        both = [[value(samples) for samples in _binned(of, span_s, bins)] for of in (replay.was, replay.would)]
        parts += _panel(TOP + number * (PANEL + GAP), name, both, span_s)
    height = TOP + len(PANELS) * (PANEL + GAP)
    size = f'width="{WIDTH}" height="{height}" viewBox="0 0 {WIDTH} {height}"'
    style = 'font-family="sans-serif" fill="#222"'
    head = f'<svg xmlns="http://www.w3.org/2000/svg" {size} {style} role="img">'
    return "\n".join([head, f"<title>{escape(title)}</title>", _rect(), *parts, "</svg>\n"])


def _binned(samples: Sequence[Sample], span_s: float, bins: int) -> list[list[Sample]]:
    found: list[list[Sample]] = [[] for _ in range(bins)]
    for one in samples:
        found[min(bins - 1, int(one.at_s / span_s * bins))].append(one)
    return found


def _panel(top: int, name: str, both: Sequence[Sequence[float]], span_s: float) -> list[str]:
    most = max(1e-9, *(value for values in both for value in values))
    width = WIDTH - LEFT - 20
    bottom = top + PANEL
    parts = [_text(LEFT, top - 6, name, 12)]
    for part in (0.0, 0.5, 1.0):
        y = bottom - part * PANEL
        parts.append(f'<path d="M{LEFT} {y:.1f}h{width}" stroke="#ddd"/>')
        parts.append(_text(LEFT - 8, y + 4, f"{part * most:.3g}", 11, "end"))
        parts.append(_text(LEFT + part * width, bottom + 16, f"{part * span_s / 60:.3g} min", 11, "middle"))
    for values, colour, dash in zip(both, (WAS, WOULD), ('stroke-dasharray="5 4" ', ""), strict=True):
        step = width / len(values)
        places = " ".join(
            f"{LEFT + (number + 0.5) * step:.1f},{bottom - value / most * PANEL:.1f}"
            for number, value in enumerate(values)
        )
        parts.append(f'<polyline points="{places}" fill="none" stroke="{colour}" stroke-width="2" {dash}/>')
    return parts


def _legend(x: int, y: int) -> list[str]:
    return [
        f'<path d="M{x} {y - 4}h30" stroke="{WAS}" stroke-width="2" stroke-dasharray="5 4"/>',
        _text(x + 36, y, "as it was", 12),
        f'<path d="M{x + 130} {y - 4}h30" stroke="{WOULD}" stroke-width="2"/>',
        _text(x + 166, y, "as it would have been", 12),
    ]


def _rect() -> str:
    return '<rect width="100%" height="100%" fill="#fff"/>'


def _text(x: float, y: float, text: str, size: int, anchor: str = "start") -> str:
    return f'<text x="{x:.1f}" y="{y:.1f}" font-size="{size}" text-anchor="{anchor}">{escape(text)}</text>'
