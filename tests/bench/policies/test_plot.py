from __future__ import annotations

from pathlib import Path

import pytest

from bench.policies.bounds import Bounds
from bench.policies.cells import Cell
from bench.policies.plot import draw
from bench.policies.verdicts import Row, verdict
from tests.simulator.virtual.builders import run, sample


def some_rows() -> list[Row]:
    runs = {"leastconn": [run([sample(9.0, ttft=4.0)])], "pointsman": [run([sample(9.0, ttft=1.0)])]}
    bounds = Bounds(0.1, 0.1, 0.1, 0.1, None, None)
    cells = [Cell("F4", 0.15, "W1"), Cell("F4", 0.3, "W1"), Cell("F8", 0.3, "WX")]
    return [row for cell in cells for row in verdict(cell, ("R1",), runs, bounds).rows]


def test_a_picture_names_every_panel_and_policy(tmp_path: Path) -> None:
    picture = tmp_path / "ratios.svg"
    draw(picture, some_rows())
    text = picture.read_text()

    for name in ("F4, W1", "F8, WX", "leastconn", "pointsman", "floor"):
        assert f"<!-- {name} -->" in text


def test_closed_loops_are_not_drawn(tmp_path: Path) -> None:
    (closed,) = verdict(Cell("F4", None, "CL"), ("R1",), {"leastconn": [run([sample(9.0)])]}, None).rows
    draw(tmp_path / "ratios.svg", [*some_rows(), closed])

    assert "F4, CL" not in (tmp_path / "ratios.svg").read_text()
    with pytest.raises(ValueError, match="closed loops"):
        draw(tmp_path / "ratios.svg", [closed])


def test_the_ending_says_the_format(tmp_path: Path) -> None:
    draw(tmp_path / "ratios.png", some_rows())
    assert (tmp_path / "ratios.png").read_bytes().startswith(b"\x89PNG")

    with pytest.raises(ValueError, match="format"):
        draw(tmp_path / "ratios.nothing", some_rows())
