"""What stores say of a change, and what the client is told."""

import pytest

from spoe_agent.door.progress import TICK_S, Progress, written

MANIFEST, VERIFY, WRITE, SUCCESS = (
    {"status": status} for status in ("pulling manifest", "verifying sha256 digest", "writing manifest", "success")
)


def bar(name, completed, total=100):
    line = {"status": f"pulling {name}", "digest": f"sha256:{name}", "total": total}
    return {**line, "completed": completed} if completed else line


class Told:
    """A progress of two stores whose clock goes on by a tick with each line."""

    def __init__(self, tick_s=TICK_S):
        self.now_s, self.tick_s = 0.0, tick_s
        self.progress = Progress(("a", "b"), lambda: self.now_s)

    def __call__(self, *said):
        """Take lines: (store, line), (store, "error") or (store,) for its end; return what was told."""
        found = []
        for store, *rest in said:
            self.now_s += self.tick_s
            if not rest:
                found += self.progress.ended(store)
            elif isinstance(rest[0], str):
                found += self.progress.failed(store, rest[0])
            else:
                found += self.progress.told(store, rest[0])
        return found


A, B = 0, 1
NOTE = {"status": "not in b: disk full; the others go on"}

# what the stores say, one after another -> what the client is told
TABLE = {
    "alike": (
        [(s, line) for line in (MANIFEST, bar("x", 50), bar("x", 100), VERIFY, WRITE, SUCCESS) for s in (A, B)]
        + [(A,), (B,)],
        [MANIFEST, bar("x", 25), bar("x", 50), bar("x", 75), bar("x", 100), VERIFY, WRITE],
    ),
    "one has the first file and is far ahead": (
        [
            *((A, line) for line in (MANIFEST, bar("x", 100), bar("y", 0), bar("y", 60), bar("y", 100), VERIFY)),
            *((B, line) for line in (MANIFEST, bar("x", 40), bar("x", 80), bar("y", 10), bar("y", 90), VERIFY)),
        ],
        [
            MANIFEST,
            bar("x", 50),
            bar("x", 70),
            bar("x", 90),
            bar("x", 100),
            bar("y", 55),
            bar("y", 95),
            bar("y", 100),
            VERIFY,
        ],
    ),
    "the last line of a file is missing, as with Ollama": (
        [(A, bar("x", 97)), (B, bar("x", 100)), (A, VERIFY)],
        [bar("x", 48), bar("x", 98), bar("x", 100), VERIFY],
    ),
    "one goes on where it was cut off": (
        [(A, bar("x", 80)), (B, bar("x", 0)), (B, bar("x", 60))],
        [bar("x", 40), bar("x", 70)],
    ),
    "only one removes something": (
        [(A, WRITE), (A, {"status": "removing unused layers"}), (B, WRITE), (A, SUCCESS), (A,), (B, SUCCESS), (B,)],
        [WRITE, {"status": "removing unused layers"}],
    ),
    "each says it in its way": (
        [(A, {"status": "using x"}), (B, {"status": "creating x"}), (B, WRITE), (A, WRITE)],
        [{"status": "using x"}, {"status": "creating x"}, WRITE],
    ),
    "one fails": (
        [(A, MANIFEST), (B, MANIFEST), (A, bar("x", 10)), (B, bar("x", 50)), (B, "disk full"), (A, bar("x", 40))],
        [MANIFEST, bar("x", 5), bar("x", 30), NOTE, bar("x", 40)],
    ),
    "one fails that was ahead: no bar goes back": (
        [(B, MANIFEST), (B, bar("x", 80)), (B, "disk full"), (A, MANIFEST), (A, bar("x", 10)), (A, bar("x", 50))],
        [MANIFEST, NOTE, bar("x", 10), bar("x", 50)],
    ),
    "what only a failed one began": (
        [(A, MANIFEST), (B, MANIFEST), (B, bar("y", 0)), (B, "gone"), (A, VERIFY)],
        [MANIFEST, bar("y", 0), {"status": "not in b: gone; the others go on"}, VERIFY],
    ),
    "all fail alike, and nobody went on": ([(A, MANIFEST), (B, MANIFEST), (A, "none"), (B, "none")], [MANIFEST]),
    "one was never up": ([(B, "disk full"), (A, MANIFEST), (A, bar("x", 100)), (A,)], [MANIFEST, NOTE, bar("x", 100)]),
    "success is said by who knows of all": ([(A, SUCCESS), (A,), (B, SUCCESS), (B,)], []),
}


@pytest.mark.parametrize(("said", "told"), TABLE.values(), ids=TABLE)
def test_one_stream_of_two(said, told):
    assert Told()(*said) == told


def test_bars_are_told_of_no_more_often_than_ollama_does():
    told = Told(tick_s=TICK_S / 10)
    lines = told(*((store, bar("x", done)) for done in range(1, 100) for store in (A, B)))
    assert len(lines) == pytest.approx(20, abs=1)
    assert told((A, bar("x", 100)), (B, bar("x", 100))) == [bar("x", 100)]


def test_bars_never_go_back_and_each_ends_before_the_next():
    """Whatever the order in which two stores come along."""
    steps = [bar(name, done) for name in "xyz" for done in (0, 30, 60, 100)]
    for ahead in range(len(steps)):
        said = [(A, line) for line in steps[:ahead]]
        said += [one for line in range(len(steps)) for one in ((B, steps[line]), (A, steps[min(ahead + line, 11)]))]
        lines = Told()(*said)
        keys = [(line["digest"], line.get("completed", 0)) for line in lines]
        assert keys == sorted(keys)
        assert [key for key in keys if key[1] == 100] == [(f"sha256:{name}", 100) for name in "xyz"]


def test_written_as_ollama_writes():
    assert written(bar("x", 5)) == (b'{"status":"pulling x","digest":"sha256:x","total":100,"completed":5}\n')
