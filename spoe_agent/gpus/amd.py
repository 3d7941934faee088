"""AMD GPUs through the files of the kernel's amdgpu driver (Documentation/gpu/amdgpu, driver-misc and thermal).

Needs no library and no root.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import structlog

from spoe_agent.gpus.reading import GpuReading, SourceError, pci_bus_id

log = structlog.get_logger()

_AMD = "0x1002"
"""PCI vendor id."""


class AmdReader:
    """Reads every AMD GPU of this host. `root` is where sysfs is mounted."""

    name = "amd"

    def __init__(self, root: Path = Path("/sys")) -> None:
        self._cards = root / "class" / "drm"
        self._told: set[Path] = set()
        self.doing = ""
        """The file being read, or the last one."""

    def read(self, now_s: float) -> tuple[GpuReading, ...]:
        """Read every GPU, in order of PCI bus ids. Raises SourceError."""
        self.doing = str(self._cards)
        try:
            devices = sorted(self._devices())
        except FileNotFoundError:  # no graphics at all
            return ()
        except OSError as error:
            raise SourceError(f"cannot list {self._cards}: {error.strerror}") from error
        return tuple(self._read(index, bus, device, now_s) for index, (bus, device) in enumerate(devices))

    def _devices(self) -> Iterator[tuple[str, Path]]:
        """Yield bus id and folder of each AMD GPU; connectors (card0-DP-1) and other vendors are left out."""
        for card in self._cards.iterdir():
            device = card / "device"
            if re.fullmatch(r"card\d+", card.name) and self._text(device / "vendor") == _AMD:
                # class/drm/card0/device is a link into the PCI tree, whose folders are named by bus id.
                yield pci_bus_id(device.resolve().name), device

    def _read(self, index: int, bus: str, device: Path, now_s: float) -> GpuReading:
        sensors = next(iter(sorted((device / "hwmon").glob("hwmon*"))), device / "hwmon")
        total = self._number(device / "mem_info_vram_total")
        used = self._number(device / "mem_info_vram_used")
        busy = self._number(device / "gpu_busy_percent")
        return GpuReading(
            uuid=self._uuid(device, bus),
            name=self._text(device / "product_name") or None,
            index=index,
            pci_bus_id=bus,
            memory_total_bytes=total,
            memory_used_bytes=used,
            memory_free_bytes=None if total is None or used is None else total - used,
            utilisation=None if busy is None else busy / 100,
            temperature_c=_divided(self._number(sensors / "temp1_input"), 1e3),
            # power1_average on most cards; newer kernels give some only the momentary power1_input.
            power_w=_divided(self._number(sensors / "power1_average", sensors / "power1_input"), 1e6),
            power_limit_w=_divided(self._number(sensors / "power1_cap"), 1e6),
            ecc_uncorrected=self._uncorrected(device / "ras" / "umc_err_count"),
            read_at_s=now_s,
        )

    def _uuid(self, device: Path, bus: str) -> str:
        """Return the name that ROCR_VISIBLE_DEVICES and Ollama use: GPU- and the unique id in 16 hex digits.

        Cards before GFX9 have none; they go by their bus id.
        """
        unique = self._text(device / "unique_id")
        return f"GPU-{unique.lower():0>16}" if unique else bus

    def _uncorrected(self, file: Path) -> int | None:
        """Return memory errors that ECC could not correct ("ue: 0"); None on cards without ECC."""
        found = re.search(r"^ue:\s*(\d+)", self._text(file) or "", re.MULTILINE)
        return int(found[1]) if found else None

    def _number(self, *files: Path) -> int | None:
        """Return the first number that one of the files has."""
        for file in files:
            text = self._text(file)
            if text is not None and re.fullmatch(r"-?\d+", text):
                return int(text)
        return None

    def _text(self, file: Path) -> str | None:
        """Return a file's text; None when the card has no such file, or the driver no answer (told once)."""
        self.doing = str(file)
        try:
            return file.read_text(encoding="ascii", errors="replace").strip()
        except FileNotFoundError:
            return None
        except OSError as error:
            if file not in self._told:
                self._told.add(file)
                log.info("GPU gives no value", file=str(file), why=error.strerror)
            return None


def _divided(value: int | None, by: float) -> float | None:
    return None if value is None else value / by
