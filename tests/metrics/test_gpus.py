"""What the metrics say of GPUs."""

from spoe_agent.gpus.board import SourceHealth, SourceState
from spoe_agent.routing.snapshot import GpuGroup
from tests.metrics.rig import Rig

GPU = {"gpu": "GPU-0"}


async def test_a_gpu_with_every_value():
    rig = Rig()
    rig.gpus.read(
        memory_total_bytes=100,
        memory_used_bytes=40,
        utilisation=0.5,
        temperature_c=61.0,
        power_w=300.5,
        power_limit_w=700.0,
        throttle=frozenset({"sw_thermal", "gpu_idle"}),
        xid=79,
    )
    rig.agent.board.publish_gpus({"g0": GpuGroup(60, 100, 30, 1.5)})
    for what, value in (
        ("memory_total_bytes", 100),
        ("memory_used_bytes", 40),
        ("utilisation_ratio", 0.5),
        ("temperature_celsius", 61.0),
        ("power_watts", 300.5),
        ("power_limit_watts", 700.0),
        ("faulty", 1),
    ):
        assert await rig.value(f"pointsman_gpu_{what}", **GPU) == value, what
    assert await rig.value("pointsman_gpu_info", instance="g0", name="NVIDIA H200", **GPU) == 1
    assert await rig.value("pointsman_gpu_throttled", reason="sw_thermal", **GPU) == 1
    assert await rig.value("pointsman_gpu_throttled", reason="gpu_idle", **GPU) is None
    assert await rig.value("pointsman_gpu_foreign_bytes", instance="g0") == 30
    assert await rig.value("pointsman_gpu_orphaned_bytes") == 3 << 30
    assert await rig.value("pointsman_gpu_readings_age_seconds", instance="g0") == 1.5
    assert await rig.value("pointsman_gpu_source_up", source="nvidia") == 1


async def test_what_has_no_value_is_left_out():
    rig = Rig()
    rig.gpus.read()
    rig.gpus.board.report("nvidia", SourceState(SourceHealth.LATE, "no answer"))
    assert await rig.value("pointsman_gpu_temperature_celsius", **GPU) is None
    assert await rig.value("pointsman_gpu_faulty", **GPU) == 0
    assert await rig.value("pointsman_gpu_foreign_bytes", instance="g0") is None
    assert await rig.value("pointsman_gpu_source_up", source="nvidia") == 0
