"""Measured use of resources: what counters say, and nothing where they say nothing."""

import subprocess
import sys
import time
from types import SimpleNamespace

import pytest

from protocols import resource_usage
from protocols.resource_usage import Meter, Usage


def zone(folder, name, value, most=1_000_000):
    folder.mkdir()
    for file, content in (("name", name), ("energy_uj", value), ("max_energy_range_uj", most)):
        (folder / file).write_text(f"{content}\n")
    return folder / "energy_uj"


def burn(seconds):
    end = time.process_time() + seconds
    while time.process_time() < end:
        pass


def test_energy_without_counters_is_unknown(tmp_path):
    with Meter(powercap=tmp_path) as meter:
        burn(0.1)
    used = meter.used()
    assert used.cpu_j is None and used.joules is None
    assert used.cpu_s > 0.05 and used.wall_s > 0.05 and used.gpu_s == 0 and used.gpu_j == 0


def test_one_unreadable_counter_leaves_the_energy_unknown(tmp_path):
    zone(tmp_path / "intel-rapl:0", "package-0", 5)
    zone(tmp_path / "intel-rapl:1", "package-1", "permission denied")
    with Meter(powercap=tmp_path) as meter:
        assert meter.used().cpu_j is None


def test_packages_and_memory_count_and_a_counter_may_go_round(tmp_path, monkeypatch):
    package = zone(tmp_path / "intel-rapl:0", "package-0", 900_000)
    memory = zone(tmp_path / "intel-rapl:0:1", "dram", 0)
    core = zone(tmp_path / "intel-rapl:0:0", "core", 0)  # a part of the package
    monkeypatch.setattr(resource_usage, "_own_seconds", iter([10.0, 13.0]).__next__)
    monkeypatch.setattr(resource_usage, "_busy_seconds", iter([100.0, 112.0]).__next__)
    with Meter(powercap=tmp_path) as meter:
        package.write_text("100000")  # 0.1 J to the end of the range, and as much after it
        memory.write_text("200000")
        core.write_text("700000")
        used = meter.used()
    assert used.cpu_s == 3
    assert used.cpu_j == pytest.approx((0.2 + 0.2) * 3 / 12, abs=1e-5)  # its share of the time of all processes


def test_children_count():
    with Meter() as meter:
        subprocess.run([sys.executable, "-c", "sum(range(5_000_000))"], check=True)
        assert meter.used().cpu_s > 0.05


@pytest.fixture
def nvml(monkeypatch):
    """NVML of a machine with one GPU, on which two processes compute."""

    class NVMLError(Exception):
        pass

    state = SimpleNamespace(millijoules=1000)

    def handle(uuid):
        if uuid != "GPU-1":
            raise NVMLError("Not Found")
        return uuid

    made = SimpleNamespace(
        NVMLError=NVMLError,
        nvmlInit=lambda: None,
        nvmlDeviceGetHandleByUUID=handle,
        nvmlDeviceGetTotalEnergyConsumption=lambda handle: state.millijoules,
        nvmlDeviceGetComputeRunningProcesses=lambda handle: [1, 2],
    )
    monkeypatch.setitem(sys.modules, "pynvml", made)
    return state


def test_processes_on_a_gpu_share_its_time_and_energy(nvml, tmp_path):
    with Meter("cuda:0", "GPU-1", powercap=tmp_path) as meter:
        nvml.millijoules += 6000
        used = meter.used()
    assert used.gpu_j == 3 and used.cpu_j is None and used.joules is None
    assert used.gpu_s == used.wall_s / 2 > 0


@pytest.mark.parametrize("uuid", ["GPU-2", ""])
def test_a_gpu_without_a_counter_has_hours_and_no_energy(nvml, uuid):
    with Meter("cuda:0", uuid) as meter:
        used = meter.used()
    assert used.gpu_j is None and used.gpu_s == used.wall_s > 0


def test_use_adds_up_and_scales_and_what_is_unknown_stays_so():
    one, other = Usage(10, 8, 0, 100.0, 0.0, items=4), Usage(2, 2, 1, None, 5.0, items=1)
    assert one + other == Usage(12, 10, 1, None, 5.0, items=5)
    assert one.for_items(8) == Usage(20, 16, 0, 200.0, 0.0, items=8)
    assert one.joules == 100 and other.joules is None
    assert Usage.from_json(other.as_json()) == other
