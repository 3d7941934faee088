"""What docs/deploy.md tells people to write: the systemd unit, as far as it can be checked without systemd running."""

import re
import shutil
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]


def unit():
    (found,) = re.findall(r"```ini\n(.*?)```", (ROOT / "docs" / "deploy.md").read_text(), re.S)
    return found


@pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="systemd is not installed")
def test_the_unit_is_one(tmp_path):
    file = tmp_path / "pointsman.service"
    # The program is where this machine has one.
    file.write_text(unit().replace("/opt/pointsman/bin/pointsman", "/bin/true"))
    done = subprocess.run(["systemd-analyze", "verify", "--man=no", file], capture_output=True, text=True, check=False)
    ours = [line for line in (done.stdout + done.stderr).splitlines() if "pointsman.service" in line]
    assert ours == []


def test_the_unit_reloads_and_is_told_by_the_agent():
    settings = dict(re.findall(r"^(\w+)=(.*)$", unit(), re.M))
    assert settings["Type"] == "notify"
    assert settings["ExecReload"] == "/bin/kill -HUP $MAINPID"
    assert int(settings["WatchdogSec"]) > 0
