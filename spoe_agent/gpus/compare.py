"""Our readings beside nvidia-smi's of the same second: `python -m spoe_agent.gpus.compare [--json]`.

For machines with NVIDIA GPUs. Lives here: running nvidia-smi, reading its CSV, differences.
"""

from __future__ import annotations

import csv
import json
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import TextIO

from spoe_agent.gpus.nvml import NvmlReader
from spoe_agent.gpus.reading import CLOCK_LIMITS, GpuReading, SourceError

_MIB = 1 << 20
FIELDS: Mapping[str, tuple[str, float]] = {
    "memory.total": ("memory_total_bytes", _MIB),
    "memory.reserved": ("memory_reserved_bytes", _MIB),
    "memory.used": ("memory_used_bytes", _MIB),
    "memory.free": ("memory_free_bytes", _MIB),
    "utilization.gpu": ("utilisation", 0.01),
    "temperature.gpu": ("temperature_c", 1),
    "power.draw": ("power_w", 1),
    "enforced.power.limit": ("power_limit_w", 1),
    "ecc.errors.uncorrected.volatile.total": ("ecc_uncorrected", 1),
    "clocks_event_reasons.active": ("throttle", 1),
}
"""nvidia-smi's field, ours, and what one of its units is in ours."""
COLUMNS = ("uuid", *FIELDS)


@dataclass(frozen=True, slots=True)
class Comparison:
    """One value, twice. In our unit; None: no value."""

    gpu: str
    field: str
    ours: float | None
    theirs: float | None

    @property
    def difference(self) -> float | None:
        """Ours less theirs, when both have a value."""
        return None if self.ours is None or self.theirs is None else self.ours - self.theirs


def compare(readings: Sequence[GpuReading], gpus_csv: str, processes_csv: str) -> Iterator[Comparison]:
    """Yield every value of nvidia-smi beside ours."""
    by_uuid = {reading.uuid: reading for reading in readings}
    for row in _rows(gpus_csv):
        found = by_uuid.get(row[0], GpuReading(row[0]))
        for text, (name, unit) in zip(row[1:], FIELDS.values(), strict=True):
            yield Comparison(row[0], name, _ours(found, name), _number(text, unit))
    for uuid, pid, held in _rows(processes_csv):
        processes = by_uuid.get(uuid, GpuReading(uuid)).processes or {}
        yield Comparison(uuid, f"process {pid}", processes.get(int(pid)), _number(held, _MIB))


def _rows(text: str) -> list[list[str]]:
    return [[cell.strip() for cell in row] for row in csv.reader(text.splitlines()) if row]


def _ours(reading: GpuReading, name: str) -> float | None:
    value = getattr(reading, name)
    if isinstance(value, frozenset):
        return float(sum(bit for bit, limit in CLOCK_LIMITS.items() if limit in value))
    return None if value is None else float(value)


def _number(text: str, unit: float) -> float | None:
    """Read a cell; "[N/A]" and the like are no value."""
    try:
        return float(int(text, 16) if text.startswith("0x") else float(text)) * unit
    except ValueError:
        return None


def _smi(*query: str) -> str:
    try:
        done = subprocess.run(["nvidia-smi", *query, "--format=csv,noheader,nounits"], capture_output=True, text=True)
    except OSError as error:
        raise SourceError(f"nvidia-smi: {error.strerror}; it comes with NVIDIA's driver") from error
    if done.returncode:
        raise SourceError(f"nvidia-smi {' '.join(query)}: {(done.stdout + done.stderr).strip()}")
    return done.stdout


def main(arguments: Sequence[str], out: TextIO) -> int:
    """Print the comparison: one line per value, or JSON. Raises SourceError where either of both says nothing."""
    reader = NvmlReader()
    reader.read(time.monotonic())  # the first reading starts NVML: not the one to compare
    readings = reader.read(time.monotonic())
    gpus = _smi(f"--query-gpu={','.join(COLUMNS)}")
    lines = list(compare(readings, gpus, _smi("--query-compute-apps=gpu_uuid,pid,used_memory")))
    if "--json" in arguments:
        json.dump([asdict(line) | {"difference": line.difference} for line in lines], out, indent=1)
        return 0
    for line in lines:
        out.write(f"{line.gpu}  {line.field:24} {_shown(line.ours)} {_shown(line.theirs)} {_shown(line.difference)}\n")
    return 0


def _shown(value: float | None) -> str:
    return f"{'-':>18}" if value is None else f"{value:>18,.3f}".rstrip("0").rstrip(".").rjust(18)


if __name__ == "__main__":
    try:
        sys.exit(main(sys.argv[1:], sys.stdout))
    except SourceError as error:
        sys.exit(f"nothing to compare: {error}")
