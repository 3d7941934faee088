"""Prometheus exporters: dcgm-exporter's page, other names, pages that are none."""

import pytest
from aiohttp import web

from spoe_agent.gpus.exporter import DCGM, FIELDS, ExporterNames, ExporterSource, parse
from spoe_agent.gpus.reading import GpuReading, SourceError
from tests.gpus.web import answering

MIB = 1 << 20
UUID = "GPU-8f1c6f0e-0c4e-4b8a-9f57-6f6f5b1c2d3e"
LABELS = f'gpu="1",UUID="{UUID}",pci_bus_id="00000000:3B:00.0",device="nvidia1",modelName="NVIDIA H100",Hostname="h"'
VALUES = {
    "DCGM_FI_DEV_FB_TOTAL": (81559, "memory_total_bytes", 81559 * MIB),
    "DCGM_FI_DEV_FB_USED": (20000, "memory_used_bytes", 20000 * MIB),
    "DCGM_FI_DEV_FB_FREE": (61000, "memory_free_bytes", 61000 * MIB),
    "DCGM_FI_DEV_FB_RESERVED": (559, "memory_reserved_bytes", 559 * MIB),
    "DCGM_FI_DEV_GPU_UTIL": (87, "utilisation", 0.87),
    "DCGM_FI_DEV_GPU_TEMP": (64, "temperature_c", 64.0),
    "DCGM_FI_DEV_POWER_USAGE": (412.5, "power_w", 412.5),
    "DCGM_FI_DEV_ENFORCED_POWER_LIMIT": (700, "power_limit_w", 700.0),
    "DCGM_FI_DEV_POWER_MGMT_LIMIT": (650, "power_limit_w", 650.0),
    "DCGM_FI_DEV_CLOCK_THROTTLE_REASONS": (36, "throttle", {"sw_power_cap", "sw_thermal"}),
    "DCGM_FI_DEV_CLOCKS_EVENT_REASONS": (4, "throttle", {"sw_power_cap"}),
    "DCGM_FI_DEV_ECC_DBE_VOL_TOTAL": (2, "ecc_uncorrected", 2),
    "DCGM_FI_DEV_XID_ERRORS": (79, "xid", 79),
    "DCGM_FI_DEV_ROW_REMAP_FAILURE": (1, "fault", "cannot remap a faulty row of its memory any more"),
}


def page(*metrics, labels=LABELS):
    lines = []
    for metric in metrics:
        value = VALUES[metric][0] if metric in VALUES else 1
        lines += [f"# HELP {metric} Help.", f"# TYPE {metric} gauge", f"{metric}{{{labels}}} {value}"]
    return "\n".join(lines) + "\n"


def test_the_table_of_metrics_is_whole():
    assert VALUES.keys() == DCGM.metrics.keys()
    assert {field for _, field, _ in VALUES.values()} == FIELDS


@pytest.mark.parametrize("metric", VALUES)
def test_each_metric_is_read_in_its_own_unit(metric):
    _, field, value = VALUES[metric]
    (reading,) = parse(page(metric, "DCGM_FI_DEV_SM_CLOCK"), DCGM, 5.0)
    assert getattr(reading, field) == value
    empty = GpuReading(UUID, name="NVIDIA H100", index=1, pci_bus_id="0000:3b:00.0", read_at_s=5.0)
    others = FIELDS - {field}
    assert {name: getattr(reading, name) for name in others} == {name: getattr(empty, name) for name in others}


@pytest.mark.parametrize(
    ("metrics", "total"),
    [
        (["DCGM_FI_DEV_FB_USED", "DCGM_FI_DEV_FB_FREE"], 81000 * MIB),
        (["DCGM_FI_DEV_FB_USED", "DCGM_FI_DEV_FB_FREE", "DCGM_FI_DEV_FB_RESERVED"], 81559 * MIB),
        (["DCGM_FI_DEV_FB_USED", "DCGM_FI_DEV_FB_FREE", "DCGM_FI_DEV_FB_TOTAL"], 81559 * MIB),
        (["DCGM_FI_DEV_FB_USED"], None),
    ],
)
def test_the_total_is_worked_out_where_the_exporter_leaves_it_out(metrics, total):
    assert parse(page(*metrics), DCGM, 0.0)[0].memory_total_bytes == total


def test_no_fault_is_no_value():
    text = page("DCGM_FI_DEV_ROW_REMAP_FAILURE").replace("} 1", "} 0")
    assert parse(text, DCGM, 0.0)[0].fault is None


def test_a_blank_value_is_no_value():
    assert parse(page("DCGM_FI_DEV_GPU_TEMP").replace("} 64", "} NaN"), DCGM, 0.0) == ()


def test_mig_devices_are_told_apart_from_their_gpu():
    part = LABELS + ',GPU_I_PROFILE="1g.10gb",GPU_I_ID="3"'
    text = page("DCGM_FI_DEV_GPU_TEMP") + page("DCGM_FI_DEV_FB_FREE", labels=part)
    whole, mig = parse(text, DCGM, 0.0)
    assert (whole.uuid, whole.temperature_c, whole.memory_free_bytes) == (UUID, 64.0, None)
    assert (mig.uuid, mig.parent_uuid, mig.index, mig.pci_bus_id) == (f"MIG-{UUID}/3/0", UUID, None, None)
    assert mig.memory_free_bytes == 61000 * MIB


def test_other_exporters_have_names_of_their_own():
    names = ExporterNames(
        {
            "nvidia_smi_memory_used_bytes": ("memory_used_bytes", 1),
            "nvidia_smi_utilization_gpu_ratio": ("utilisation", 1),
        },
        uuid="uuid",
        name="name",
    )
    bare = UUID.removeprefix("GPU-")
    text = (
        f'nvidia_smi_memory_used_bytes{{uuid="{bare}"}} 5e+09\nnvidia_smi_utilization_gpu_ratio{{uuid="{bare}"}} 0.5\n'
    )
    assert parse(text, names, 1.0) == (
        GpuReading(UUID, memory_used_bytes=5_000_000_000, utilisation=0.5, read_at_s=1.0),
    )


def test_a_mapping_to_no_field_is_refused():
    with pytest.raises(ValueError, match="vram: no such field; there are ecc_uncorrected, fault, memory_free_bytes"):
        ExporterNames({"x": ("vram", 1)})


@pytest.mark.parametrize("text", ["", "# HELP only comments\n", "DCGM_FI_DEV_GPU_TEMP 5\n", 'go_threads{a="b"} 7\n'])
def test_a_page_without_gpus_has_no_readings(text):
    assert parse(text, DCGM, 0.0) == ()


async def test_a_page_is_scraped_again_and_again():
    async with answering(metrics=page(*VALUES)) as (url, session):
        source = ExporterSource(session, f"{url}/metrics")
        first, second = [(await source.read(now_s))[0] for now_s in (1.0, 2.0)]
    assert (first.uuid, first.read_at_s, second.read_at_s) == (UUID, 1.0, 2.0)


async def test_a_page_that_changes_is_parsed_anew():
    pages = iter([page("DCGM_FI_DEV_GPU_TEMP"), page("DCGM_FI_DEV_GPU_UTIL")])

    async def metrics(_):
        return web.Response(text=next(pages))

    async with answering(metrics=metrics) as (url, session):
        source = ExporterSource(session, f"{url}/metrics")
        assert (await source.read(1.0))[0].temperature_c == 64.0
        assert (await source.read(2.0))[0].temperature_c is None


@pytest.mark.parametrize(
    ("answer", "says"),
    [
        (503, "answered 503"),
        ("<html>no</html>", "is no Prometheus page"),
        ("DCGM_FI_DEV_GPU_TEMP{ 64\n", "is no Prometheus page"),
        (b"DCGM_FI_DEV_GPU_TEMP\xff{} 1\n", "is no Prometheus page"),
        ("go_threads 7\n", "has no metric of a GPU, such as DCGM_FI_DEV_FB_TOTAL"),
    ],
)
async def test_what_is_no_page_of_gpus_is_an_error(answer, says):
    async with answering(metrics=answer) as (url, session):
        with pytest.raises(SourceError, match=says):
            await ExporterSource(session, f"{url}/metrics").read(0.0)
