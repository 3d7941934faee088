"""NVIDIA's binding: loaded late, whole, and each call known by its name."""

import subprocess
import sys

from spoe_agent.gpus.nvml import NvmlReader
from spoe_agent.gpus.nvml_calls import load_binding
from tests.gpus.recorded import CALLS, HOST_CALLS, SECOND, START
from tests.gpus.replay import ReplayNvml


def test_what_is_in_progress_has_a_name():
    reader = NvmlReader(ReplayNvml)
    assert reader.doing == "loading NVML"
    reader.read(1.0)
    assert reader.doing == f"nvmlDeviceGetMigMode of {SECOND}"


def test_importing_touches_neither_binding_nor_driver():
    program = "import sys, spoe_agent.gpus.nvml, spoe_agent.gpus.service; sys.exit('pynvml' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", program], check=False).returncode == 0


def test_the_binding_is_nvidia_s_own_and_has_every_function():
    binding = load_binding()
    names = {call.split("(")[0] for call in (*CALLS, *HOST_CALLS, *START)}
    assert [name for name in sorted(names) if not hasattr(binding, name)] == []
    assert binding.nvmlMemory_v2 == 33554472
