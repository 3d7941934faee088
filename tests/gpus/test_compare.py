"""Our readings beside nvidia-smi's, from what both said on a real machine."""

import os
import subprocess
import sys

from spoe_agent.gpus.compare import FIELDS, compare
from spoe_agent.gpus.nvml import NvmlReader
from tests.gpus.replay import RECORD, ReplayNvml

FIRST = "GPU-00000000-aaaa-4bbb-8ccc-000000000000"
SECOND = "GPU-00000001-aaaa-4bbb-8ccc-000000000001"
GPUS = (
    f"{FIRST}, 143771, 616, 4, 143153, 0, 35, 77.93, 700.00, 0, 0x0000000000000001\n"
    f"{SECOND}, 143771, 616, 14179, 128978, 100, 50, 434.56, 700.00, [N/A], 0x0000000000000000\n"
)
PROCESSES = f"{SECOND}, 554, 9292\n{SECOND}, 4711, [N/A]\n"


def lines():
    readings = NvmlReader(lambda: ReplayNvml("busy")).read(0.0)
    return {(line.gpu, line.field): line for line in compare(readings, GPUS, PROCESSES)}


def test_every_value_stands_beside_ours_in_our_unit():
    found = lines()
    assert len(found) == 2 * len(FIELDS) + 2
    assert found[SECOND, "utilisation"].difference == 0
    assert abs(found[SECOND, "memory_used_bytes"].difference) < 1 << 20
    assert abs(found[SECOND, "power_w"].difference) < 2
    assert found[FIRST, "throttle"].theirs == found[FIRST, "throttle"].ours == 1
    assert found[SECOND, "process 554"].difference == 0


def test_a_value_that_one_of_us_lacks_has_no_difference():
    found = lines()
    assert (found[SECOND, "ecc_uncorrected"].theirs, found[SECOND, "ecc_uncorrected"].difference) == (None, None)
    assert (found[SECOND, "process 4711"].ours, found[SECOND, "process 4711"].difference) == (None, None)


def test_a_gpu_that_we_do_not_see_is_listed_without_values_of_ours():
    found = list(compare([], GPUS, PROCESSES))
    assert {line.ours for line in found} == {None}


def test_on_the_machine_of_the_recording_both_agreed():
    """What the recording was made beside: memory to the MiB that nvidia-smi rounds to, the rest equal."""
    tolerances = {"power_w": 1}
    for moment in RECORD["moments"].values():
        for line in moment["compared"]:
            allowed = 1 << 20 if "bytes" in line["field"] else tolerances.get(line["field"], 0)
            assert abs(line["difference"]) <= allowed, line


def test_where_there_is_nothing_to_compare_that_is_said():
    """Whether this machine has a driver or not: nvidia-smi is not found."""
    command = [sys.executable, "-m", "spoe_agent.gpus.compare"]
    done = subprocess.run(command, env={**os.environ, "PATH": ""}, capture_output=True, text=True, timeout=60)
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.startswith("nothing to compare: ") and done.stderr.count("\n") == 1
