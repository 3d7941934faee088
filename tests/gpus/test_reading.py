"""Names of clock limits and forms of bus ids."""

import pytest

from spoe_agent.gpus.reading import clock_limits, pci_bus_id


@pytest.mark.parametrize(
    ("bits", "names"),
    [
        (0, set()),
        (0x001, {"gpu_idle"}),
        (0x004, {"sw_power_cap"}),
        (0x048, {"hw_slowdown", "hw_thermal"}),
        (0x1FF, {"gpu_idle", "applications_clocks", "sw_power_cap", "hw_slowdown", "sync_boost", "sw_thermal"}
         | {"hw_thermal", "hw_power_brake", "display_clocks"}),
        (0x404, {"sw_power_cap", "0x400"}),
    ],
)  # fmt: skip
def test_bits_become_names_and_unknown_ones_are_kept(bits, names):
    assert clock_limits(bits) == names


@pytest.mark.parametrize(
    ("text", "bus"),
    [
        ("00000000:3B:00.0", "0000:3b:00.0"),
        ("0000:3b:00.0", "0000:3b:00.0"),
        ("00010000:01:00.0", "0000:01:00.0"),
        (" 1:af:00.0\n", "0001:af:00.0"),
    ],
)
def test_bus_ids_take_the_form_of_the_fleet_file(text, bus):
    assert pci_bus_id(text) == bus
