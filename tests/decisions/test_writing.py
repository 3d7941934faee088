"""The decision log beside serving: batches, what is known first, put aside when large, and a disk that fails."""

import asyncio
import json
import os
import threading

import pytest
from structlog.testing import capture_logs

from spoe_agent.agent.ending import Ending, Line
from spoe_agent.decisions.file import chain
from spoe_agent.decisions.writing import DecisionLog
from spoe_agent.fleet import Policies
from spoe_agent.routing import Kind
from tests.rigs import A, Rig, asks


class Running(Rig):
    def __init__(self, path, **policy):
        super().__init__()
        self.path = path
        self.publish(A, loaded=(A,))
        self.policies = Policies(decision_log={"file": str(path), **policy})
        self.log = DecisionLog(self.agent, self.policies, lambda: 1000.0 + self.clock(), self.clock)
        self.number = 0

    async def request(self):
        self.number += 1
        self.agent.decide(asks(request_id=f"r{self.number}"))
        self.agent.record.ended(Line(f"r{self.number}", "g0", Ending(0.1, 1.0, True), kind=Kind.INFERENCE))
        await self.log.write()

    def lines(self):
        return [json.loads(line) for path in chain(self.path) for line in path.read_text().splitlines()]

    def counts(self):
        return self.agent.record.rows.written, self.agent.record.rows.lost


async def test_what_is_known_comes_first_and_now_and_then(tmp_path):
    rig = Running(tmp_path / "d.jsonl")
    await rig.request()
    await rig.request()
    rig.clock.now_s += 601
    await rig.request()
    assert ["known" in line for line in rig.lines()] == [True, False, False, True, False]
    known = rig.lines()[0]["known"]
    assert known["time"] == 1100.0
    assert known["instances"]["g0"]["loaded"] == {"a:latest": {"bytes": 1, "context_length": 0}}
    assert known["stores"] == {"": {"a:latest": 1}}
    assert rig.lines()[1]["time"] == 1100.0
    assert rig.counts() == (3, 0)


async def test_what_is_known_is_of_before_the_first_request(tmp_path):
    """As it was at the beginning, or a minute before at most; not as the first requests have made it."""
    rig = Running(tmp_path / "d.jsonl")
    await rig.log.write()
    rig.clock.now_s += 59
    rig.publish(A)
    await rig.log.write()
    rig.clock.now_s += 1
    await rig.log.write()
    rig.publish(A, loaded=(A,))
    await rig.request()
    known = rig.lines()[0]["known"]
    assert (known["time"], known["instances"]["g0"]["loaded"]) == (1160.0, {})


async def test_what_is_known_in_the_end_comes_last(tmp_path):
    rig = Running(tmp_path / "d.jsonl")
    await rig.log.leave()
    assert not rig.path.exists()
    await rig.request()
    rig.clock.now_s += 10
    await rig.log.leave()
    assert ["known" in line for line in rig.lines()] == [True, False, True]


async def test_each_file_says_what_is_known(tmp_path):
    rig = Running(tmp_path / "d.jsonl", max_size=64 << 10, keep=2)
    for _ in range(400):
        await rig.request()
    files = list(chain(rig.path))
    assert [path.name for path in files] == ["d.jsonl.2", "d.jsonl.1", "d.jsonl"]
    assert all("known" in json.loads(path.read_text().splitlines()[0]) for path in files)
    ids = [line["id"] for line in rig.lines() if "id" in line]
    assert ids == [f"r{number}" for number in range(401 - len(ids), 401)]


@pytest.mark.parametrize("file", ["missing/d.jsonl", "taken"])
async def test_a_disk_that_fails_is_said_once_and_costs_no_more_than_its_rows(tmp_path, file):
    (tmp_path / "taken").mkdir()
    rig = Running(tmp_path / file)
    with capture_logs() as logs:
        await rig.request()
        await rig.request()
    assert [entry["log_level"] for entry in logs if entry["log_level"] != "debug"] == ["error"]
    assert len(rig.log.warnings()) == 1
    assert rig.counts() == (0, 2)
    with capture_logs() as logs:
        rig.path = tmp_path / "good.jsonl"
        rig.log.adopt(Policies(decision_log={"file": str(rig.path)}))
        await rig.request()
    assert [entry["lost"] for entry in logs if entry["log_level"] == "info"] == [2]
    assert (rig.log.warnings(), rig.counts()) == ([], (1, 2))
    assert ["known" in line for line in rig.lines()] == [True, False]


async def test_what_is_known_is_not_made_again_for_each_batch_that_fails(tmp_path):
    rig = Running(tmp_path / "later" / "d.jsonl")
    for _ in range(3):
        await rig.request()
        rig.clock.now_s += 10
    (tmp_path / "later").mkdir()
    await rig.request()
    await rig.request()
    assert ["known" in line for line in rig.lines()] == [True, False, False]
    # As it was at the first batch.
    assert rig.lines()[0]["known"]["time"] == 1100.0
    assert rig.counts() == (2, 3)


async def test_rows_of_a_file_that_cannot_be_put_aside_are_written(tmp_path):
    rig = Running(tmp_path / "d.jsonl", max_size=64 << 10, keep=1)
    rig.path.write_bytes(b"{}\n" * (22 << 10))
    (tmp_path / "d.jsonl.1").mkdir()
    with capture_logs() as logs:
        for _ in range(5):
            await rig.request()
    assert [entry["log_level"] for entry in logs if entry["log_level"] != "debug"] == ["error"]
    (said,) = rig.log.warnings()
    assert "cannot be renamed" in said
    assert rig.counts() == (5, 0)
    rows = [json.loads(line) for line in rig.path.read_text().splitlines()]
    assert [row["id"] for row in rows if "id" in row] == [f"r{number}" for number in range(1, 6)]
    (tmp_path / "d.jsonl.1").rmdir()
    await rig.request()
    assert (rig.log.warnings(), [path.name for path in chain(rig.path)]) == ([], ["d.jsonl.1"])


def test_a_disk_that_hangs_does_not_keep_the_process(tmp_path):
    hangs = tmp_path / "d.jsonl"
    os.mkfifo(hangs)

    async def leave():
        rig = Running(hangs)
        rig.agent.decide(asks(request_id="r1"))
        await rig.log.leave()

    process = threading.Thread(target=asyncio.run, args=(leave(),), daemon=True)
    process.start()
    process.join(20)
    has_ended = not process.is_alive()
    os.close(os.open(hangs, os.O_RDONLY | os.O_NONBLOCK))
    # What it still says is no other test's.
    for thread in [one for one in threading.enumerate() if one.name == "decisions"]:
        thread.join(20)
    assert has_ended


async def test_a_file_that_somebody_else_has_moved_is_begun_anew(tmp_path):
    rig = Running(tmp_path / "d.jsonl")
    await rig.request()
    rig.path.rename(tmp_path / "theirs")
    await rig.request()
    assert [line["id"] for line in rig.lines()] == ["r2"]


async def test_the_last_batch_has_what_is_under_way(tmp_path):
    rig = Running(tmp_path / "d.jsonl")
    rig.agent.decide(asks(request_id="r1"))
    await rig.log.leave()
    await rig.log.leave()
    assert [(line["id"], line["ended"]) for line in rig.lines()[1:]] == [("r1", None)]


async def test_without_a_file_nothing_is_kept(tmp_path):
    rig = Running(tmp_path / "d.jsonl")
    rig.log.adopt(Policies())
    await rig.request()
    assert (list(chain(rig.path)), rig.counts()) == ([], (0, 0))
