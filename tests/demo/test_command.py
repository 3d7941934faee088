"""What the demo says of a fleet file that cannot be used. That it runs is tried by continuous integration."""

import pytest
from click.testing import CliRunner

from spoe_agent.demo.command import demo
from spoe_agent.surroundings.command import check

FLEET = """# my fleet

listeners:
  {listeners}
instances:
  - name: gpu0
    url: {url}
"""
GOOD = "http://127.0.0.1:11435"


@pytest.mark.parametrize(
    ("listeners", "url", "place"),
    [
        ("front: 127.0.0.1:11434", "nonsense", ":7: instances[0].url: "),
        ("front: nowhere", GOOD, ":4: listeners.front: "),
        ("frnt: 127.0.0.1:11434", GOOD, ":4: listeners.frnt: "),
        ("front: nowhere", "nonsense", ":7: instances[0].url: "),
    ],
)
def test_mistakes_are_told_by_the_lines_of_the_users_file(tmp_path, listeners, url, place):
    own = tmp_path / "own.yaml"
    own.write_text(FLEET.format(listeners=listeners, url=url))
    told = CliRunner().invoke(demo, ["--requests", "1", "--fleet", str(own)])
    assert told.exit_code == 1
    assert f"{own}{place}" in told.output
    assert told.output == "Error: " + CliRunner().invoke(check, [str(own)]).output
