import os

import pytest
from structlog.testing import capture_logs

from spoe_agent.fleet import load
from spoe_agent.fleet.file import EditedFile
from spoe_agent.mitmproxy.follow import another

ONE = 'instances: [{name: gpu0, url: "http://h:1"}]\n'
TWO = 'instances: [{name: gpu0, url: "http://h:1"}, {name: gpu1, url: "http://h:2"}]\n'


class Editor:
    """Stands in for time: with each pause the next edit is made. Times of files are set, so that none can be equal."""

    def __init__(self, path, *edits):
        self.path, self.edits, self.saved = path, list(edits), 0

    def save(self, text):
        if text is None:
            self.path.unlink()
            return
        self.path.write_text(text)
        self.saved += 1
        os.utime(self.path, (self.saved, self.saved))

    async def sleep(self, _):
        self.save(self.edits.pop(0))


@pytest.fixture
def path(tmp_path):
    return tmp_path / "fleet.yaml"


async def follow(path, first, *edits):
    editor = Editor(path, *edits)
    editor.save(first)
    current = load(path)
    with capture_logs() as logs:
        fleet = await another(EditedFile(path), current, editor.sleep)
    assert not editor.edits
    return [instance.name for instance in fleet.instances], logs


async def test_an_edit_is_noticed(path):
    assert await follow(path, ONE, TWO) == (["gpu0", "gpu1"], [])


async def test_what_means_the_same_is_no_edit(path):
    assert await follow(path, ONE, "# a remark\n" + ONE, TWO) == (["gpu0", "gpu1"], [])


async def test_a_bad_edit_is_told_with_line_and_key(path):
    names, logs = await follow(path, ONE, "instances: 7\n", "instances: 7\n", TWO)
    assert names == ["gpu0", "gpu1"]
    assert [line["log_level"] for line in logs] == ["error"]  # saved twice, but once in this form
    assert logs[0]["why"].startswith(f"{path}:1: instances: ")


async def test_a_file_that_went_and_came_back(path):
    names, logs = await follow(path, ONE, None, ONE, TWO)
    assert names == ["gpu0", "gpu1"]
    assert "cannot be read" in logs[0]["why"]


async def test_an_edit_before_anybody_looked_is_noticed(path):
    path.write_text(ONE)
    current = load(path)
    path.write_text(TWO)
    fleet = await another(EditedFile(path), current)
    assert len(fleet.instances) == 2
