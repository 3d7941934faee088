"""The status as people see it: in 80 columns, in ASCII, and into a file."""

import io

import pytest
from rich.console import Console

from spoe_agent.admin.table import tables

LONG = "hf.co/bartowski/Llama-3.3-70B-Instruct-GGUF:Q4_K_M"
GPUS = {"free_bytes": 100 << 30, "total_bytes": 143 << 30, "age_s": 1.0, "slow": "", "broken": "", "notes": []}
UUID = "3a5e4cde-7d0c-4c57-9c0c-0b8d4c3f9f0e"


def instance(name, **more):
    return {
        "name": name,
        "health": "up",
        "since_s": 7000.0,
        "evidence": "lists answer",
        "note": "",
        "signs": [],
        "loaded": [],
        "loading": [],
        "leaving": [],
        "reserved": None,
        "in_flight": {},
        "connections": {"limit": 12, "configured": 1200},
        "gpus": GPUS,
        **more,
    }


def model(name):
    return {"model": name}


def held(position):
    asked = {"model": LONG, "caller": "12345678901234567890", "priority": -100, "age_s": 5.0, "id": UUID}
    return {"position": position, **asked}


def shown(*instances, hold=(), warnings=(), width=80, **of_haproxy):
    console = Console(width=width, file=io.StringIO())
    hold = {"length": len(hold), "oldest_s": 5.0, "requests": list(hold)}
    haproxy = {"warning": "", "asked_age_s": 1.0, "fell_back": 0, "processes": ["1-a"], **of_haproxy}
    status = {"version": "0.1.0", "up_s": 5.0, "grants": 3, "warnings": warnings, "instances": instances, "hold": hold}
    status["haproxy"] = haproxy
    console.print(tables(status))
    return console.file.getvalue().splitlines()


@pytest.mark.parametrize(
    ("one", "row"),
    [
        (instance("gpu0"), "gpu0  up 117 min  12 of 1200  100.0 of 143.0 GiB"),
        (instance("g", gpus=None, since_s=7200), "g  up 2.0 h  12 of 1200  -"),
        (
            instance("g", gpus=None, loaded=[model("a:7b")], in_flight={"a:7b": 2}),
            "g  up 117 min  12 of 1200  -  a:7b 2",
        ),
        (instance("g", gpus=None, loading=["a:7b"], in_flight={"a:7b": 1}), "g  up 117 min  12 of 1200  -  (a:7b) 1"),
        (instance("g", gpus=None, in_flight={"a:7b": 1}), "g  up 117 min  12 of 1200  -  (a:7b) 1"),
        (instance("g", gpus=None, loaded=[model("a:7b")], leaving=["a:7b"]), "g  up 117 min  12 of 1200  -  -a:7b"),
    ],
)
def test_an_instance_is_a_row(one, row):
    assert shown(one)[4].split() == row.split()


def test_what_speaks_against_an_instance_stands_below_the_rows():
    said = ("alpha gave no token within 10 s", "other programs hold 9.0 GiB of GPU memory")
    signs = [{"grade": "bad", "what": what} for what in said]
    lines = shown(instance("gpu0", health="suspect", signs=signs), instance("gpu1"))
    assert lines[-2:] == [
        "gpu0: alpha gave no token within 10 s",
        "gpu0: other programs hold 9.0 GiB of GPU memory",
    ]


def test_what_to_look_into_comes_first():
    assert shown(instance("gpu0"), warnings=["nobody reads GPU 0 of gpu0"])[1] == "Note: nobody reads GPU 0 of gpu0"


@pytest.mark.parametrize(
    ("asked_age_s", "processes", "said"),
    [
        (None, [], "HAProxy has not asked yet"),
        (1.0, ["1-a"], "HAProxy asked 1 s ago"),
        (1.0, ["1-a", "2-b"], "HAProxy asked 1 s ago, 2 processes"),
        (9.0, [], "HAProxy asked 9 s ago, and no process of it is known to be there now"),
    ],
)
def test_who_asks(asked_age_s, processes, said):
    assert shown(instance("gpu0"), asked_age_s=asked_age_s, processes=processes)[1] == said


@pytest.mark.parametrize("width", [80, 200])
def test_a_busy_fleet_fits_and_is_plain(width):
    lines = shown(
        *(
            instance(f"a-rather-long-name-{n}", loaded=[model(LONG), model("b:7b")], in_flight={LONG: 4}, reserved=LONG)
            for n in range(4)
        ),
        instance("g4", health="recovering", signs=[{"grade": "doubt", "what": "no request answered yet; " * 5}]),
        hold=[held(n) for n in range(3)],
        width=width,
    )
    assert all(len(line) <= width and line.isascii() for line in lines)
    text = "".join("".join(line.split()) for line in lines)
    for part in ("recovering", "12of1200", "100.0of143.0GiB", "b:7b", UUID[:8]):
        assert part in text
    # Nothing is cut off: what is too long goes on in the next line.
    assert "..." not in text
