"""Energy counters of a machine: RAPL for processors and memory, NVML for GPUs; no estimates from power ratings."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path
from typing import Any, Protocol

#: Powercap interface of Linux, which also serves processors of AMD; since 2020 its counters are for root alone, unless
#: an administrator lets others read `energy_uj`.
POWERCAP = Path("/sys/class/powercap")


class Counter(Protocol):
    """Counter of energy that only grows."""

    def joules(self) -> float:
        """Return the energy since some moment in the past.

        Raises
        ------
        OSError
            If it cannot be read any more.
        """
        ...


class RaplZone:
    """One zone of RAPL (a processor package, or memory beside it); the counter's overflows are added up.

    Parameters
    ----------
    folder
        As `/sys/class/powercap/intel-rapl:0`.

    Raises
    ------
    OSError
        If it is not there or not readable.
    """

    def __init__(self, folder: Path) -> None:
        self._file = folder / "energy_uj"
        self._range = int((folder / "max_energy_range_uj").read_text()) + 1
        self._last, self._total = self._read(), 0

    def _read(self) -> int:
        return int(self._file.read_text())

    def joules(self) -> float:
        """Return the energy since the zone was opened; right if asked before the counter has gone round once."""
        now = self._read()
        self._total += (now - self._last) % self._range
        self._last = now
        return self._total / 1e6


def processors(powercap: Path = POWERCAP) -> list[Counter]:
    """Open the counters of all processor packages, and of memory that they do not include.

    Returns
    -------
    list
        Empty where there is none, or one of them is not readable: a part of the energy is not the energy.
    """
    zones = [
        folder
        for folder in sorted(powercap.glob("intel-rapl:*"))
        if _name(folder).startswith("package") or _name(folder) == "dram"
    ]
    with suppress(OSError, ValueError):
        return [RaplZone(folder) for folder in zones]
    return []


def _name(zone: Path) -> str:
    with suppress(OSError):
        return (zone / "name").read_text().strip()
    return ""


class NvidiaGpu:
    """Counter of one GPU by NVML, of Volta and later.

    Parameters
    ----------
    uuid
        As NVML and CUDA know it, `GPU-...`.

    Raises
    ------
    OSError
        If NVML is not installed (extra `energy`), does not know the GPU, or that has no counter.
    """

    def __init__(self, uuid: str) -> None:
        try:
            import pynvml
        except ImportError as error:
            raise OSError("nvidia-ml-py is not installed") from error
        self._nvml: Any = pynvml
        try:
            pynvml.nvmlInit()
            self._handle = pynvml.nvmlDeviceGetHandleByUUID(uuid)
        except pynvml.NVMLError as error:
            raise OSError(str(error)) from error
        self.joules()

    def joules(self) -> float:
        """Return the energy since the driver was loaded."""
        try:
            return self._nvml.nvmlDeviceGetTotalEnergyConsumption(self._handle) / 1e3
        except self._nvml.NVMLError as error:
            raise OSError(str(error)) from error

    def processes(self) -> int:
        """Return how many processes compute on it, at least one."""
        with suppress(self._nvml.NVMLError):
            return max(1, len(self._nvml.nvmlDeviceGetComputeRunningProcesses(self._handle)))
        return 1
