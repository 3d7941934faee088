"""AMD GPUs from a sysfs tree as the kernel lays it out."""

from dataclasses import fields

import pytest
from structlog.testing import capture_logs

from spoe_agent.gpus.amd import AmdReader
from spoe_agent.gpus.reading import GpuReading, SourceError

CARD = {
    "vendor": "0x1002",
    "unique_id": "2c8f9d1e4b7a6035",
    "product_name": "AMD Instinct MI210",
    "mem_info_vram_total": "68702699520",
    "mem_info_vram_used": "11005001728",
    "gpu_busy_percent": "87",
    "hwmon/hwmon4/temp1_input": "61000",
    "hwmon/hwmon4/power1_average": "212000000",
    "hwmon/hwmon4/power1_cap": "300000000",
    "ras/umc_err_count": "ue: 0\nce: 3",
}
FILES = {
    "unique_id": {"uuid"},
    "product_name": {"name"},
    "mem_info_vram_total": {"memory_total_bytes", "memory_free_bytes"},
    "mem_info_vram_used": {"memory_used_bytes", "memory_free_bytes"},
    "gpu_busy_percent": {"utilisation"},
    "hwmon/hwmon4/temp1_input": {"temperature_c"},
    "hwmon/hwmon4/power1_average": {"power_w"},
    "hwmon/hwmon4/power1_cap": {"power_limit_w"},
    "ras/umc_err_count": {"ecc_uncorrected"},
}
"""Every file but `vendor`, and the fields that are gone without it."""


def add(root, card, bus, files):
    """One card: class/drm/cardN/device is a link into the PCI tree."""
    device = root / "devices" / "pci0000:00" / bus
    for name, text in files.items():
        (device / name).parent.mkdir(parents=True, exist_ok=True)
        (device / name).write_text(f"{text}\n")
    (root / "class" / "drm" / card).mkdir(parents=True)
    (root / "class" / "drm" / card / "device").symlink_to(device)
    return device


def read(root):
    return AmdReader(root).read(5.0)


def test_a_card_with_everything(tmp_path):
    add(tmp_path, "card1", "0000:03:00.0", CARD)
    assert read(tmp_path) == (
        GpuReading(
            uuid="GPU-2c8f9d1e4b7a6035",
            name="AMD Instinct MI210",
            index=0,
            pci_bus_id="0000:03:00.0",
            memory_total_bytes=68702699520,
            memory_used_bytes=11005001728,
            memory_free_bytes=57697697792,
            utilisation=0.87,
            temperature_c=61.0,
            power_w=212.0,
            power_limit_w=300.0,
            ecc_uncorrected=0,
            read_at_s=5.0,
        ),
    )


def test_the_table_of_files_is_whole():
    assert CARD.keys() - {"vendor"} == FILES.keys()


def without(tmp_path, file):
    add(tmp_path, "card0", "0000:03:00.0", {name: text for name, text in CARD.items() if name != file})


def garbled(tmp_path, file):
    add(tmp_path, "card0", "0000:03:00.0", CARD | {file: "" if file in {"unique_id", "product_name"} else "N/A"})


def unreadable(tmp_path, file):
    path = add(tmp_path, "card0", "0000:03:00.0", CARD) / file
    path.unlink()
    path.mkdir()  # reading it fails with EISDIR, as a sick card's does with EIO


@pytest.mark.parametrize("broken", [without, garbled, unreadable])
@pytest.mark.parametrize("file", FILES)
def test_a_file_that_has_nothing_takes_its_own_fields_and_no_others(tmp_path, file, broken):
    add(tmp_path / "whole", "card0", "0000:03:00.0", CARD)
    broken(tmp_path / "broken", file)
    (whole,), (found,) = read(tmp_path / "whole"), read(tmp_path / "broken")
    changed = {each.name for each in fields(GpuReading) if getattr(whole, each.name) != getattr(found, each.name)}
    assert changed == FILES[file]
    if file == "unique_id":
        assert found.uuid == "0000:03:00.0"
    else:
        assert all(getattr(found, name) is None for name in changed)


def test_a_short_unique_id_is_filled_up_as_ollama_does(tmp_path):
    add(tmp_path, "card0", "0000:03:00.0", CARD | {"unique_id": "C1F2A7E"})
    assert read(tmp_path)[0].uuid == "GPU-000000000c1f2a7e"


def test_some_cards_have_only_the_power_of_this_moment(tmp_path):
    files = {name: text for name, text in CARD.items() if "power1_average" not in name}
    add(tmp_path, "card0", "0000:03:00.0", files | {"hwmon/hwmon4/power1_input": "95000000"})
    assert read(tmp_path)[0].power_w == 95.0


def test_cards_are_numbered_by_bus_id_and_other_folders_left_out(tmp_path):
    add(tmp_path, "card0", "0000:c3:00.0", CARD | {"unique_id": "aa"})
    add(tmp_path, "card1", "0000:03:00.0", CARD | {"unique_id": "bb"})
    add(tmp_path, "card2", "0000:01:00.0", CARD | {"vendor": "0x10de"})
    add(tmp_path, "card3", "0000:02:00.0", {"unique_id": "no vendor"})
    add(tmp_path, "card0-DP-1", "0000:04:00.0", CARD)
    add(tmp_path, "renderD128", "0000:05:00.0", CARD)
    found = [(reading.index, reading.pci_bus_id, reading.uuid[-2:]) for reading in read(tmp_path)]
    assert found == [(0, "0000:03:00.0", "bb"), (1, "0000:c3:00.0", "aa")]


def test_a_host_without_graphics_has_no_gpus(tmp_path):
    assert read(tmp_path) == ()


def test_a_card_that_leads_nowhere_is_left_out(tmp_path):
    add(tmp_path, "card0", "0000:03:00.0", CARD)
    (tmp_path / "class" / "drm" / "card1").symlink_to(tmp_path / "class" / "drm" / "card1")
    assert len(read(tmp_path)) == 1


def test_a_folder_that_cannot_be_listed_is_an_error(tmp_path):
    (tmp_path / "class").mkdir()
    (tmp_path / "class" / "drm").write_text("")
    with pytest.raises(SourceError, match=r"cannot list .*/class/drm: Not a directory"):
        read(tmp_path)


def test_a_file_that_fails_is_told_once(tmp_path):
    unreadable(tmp_path, "gpu_busy_percent")
    reader = AmdReader(tmp_path)
    with capture_logs() as logs:
        reader.read(1.0)
        reader.read(2.0)
    assert [entry["file"].split("/")[-1] for entry in logs] == ["gpu_busy_percent"]


def test_what_is_in_progress_has_a_name(tmp_path):
    reader = AmdReader(tmp_path)
    assert reader.doing == ""
    add(tmp_path, "card0", "0000:03:00.0", CARD)
    reader.read(1.0)
    assert reader.doing.endswith("umc_err_count")
