"""What a run takes of its machine: CPU, memory, GPU, as metrics named as MLflow's own."""

import contextlib
import importlib
import threading
import time
from collections.abc import Callable
from types import TracebackType
from typing import Any

from hepcnn.spool.writer import SpoolWriter

FIRST_SECONDS = 10.0
POINTS_PER_INTERVAL = 200
"""After so many points the interval doubles: a day has some 1500 points."""


class Monitor:
    """Writes a machine's load to a spool now and then, within a ``with`` block. Without psutil it does nothing."""

    def __init__(self, writer: SpoolWriter, *, seconds: float = FIRST_SECONDS) -> None:
        self.writer, self.seconds = writer, seconds
        self._stop = threading.Event()
        self._probes = list(_find_probes())
        before = writer.before.points if writer.before else []
        self._step = max((point.step for point in before if point.key.startswith("system/")), default=0)
        self._thread = threading.Thread(target=self._watch, name="monitor", daemon=True)

    def __enter__(self) -> "Monitor":
        if self._probes:
            self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stop.set()
        if self._thread.is_alive():
            self._thread.join(timeout=5)

    def measure(self) -> dict[str, float]:
        """The load now."""
        values: dict[str, float] = {}
        for probe in self._probes:
            with contextlib.suppress(Exception):  # a driver may say no at any time; the run goes on
                values |= probe()
        return values

    def _watch(self) -> None:
        while not self._stop.wait(self.seconds):
            self._step += 1
            if values := self.measure():
                self.writer.add_metrics(values, step=self._step)
            if self._step % POINTS_PER_INTERVAL == 0:
                self.seconds *= 2


def _find_probes() -> list[Callable[[], dict[str, float]]]:
    probes: list[Callable[[], dict[str, float]]] = []
    with contextlib.suppress(ImportError):
        probes.append(_Machine(importlib.import_module("psutil")))
    with contextlib.suppress(Exception):  # without a driver, its library cannot be opened
        probes.append(_Gpus(importlib.import_module("pynvml")))
    return probes


class _Machine:
    def __init__(self, psutil: Any) -> None:
        self._psutil, self._process = psutil, psutil.Process()
        self._last = (time.monotonic(), self._cpu_seconds())
        psutil.cpu_percent()  # the first answer is about no time at all

    def _cpu_seconds(self) -> float:
        used = self._process.cpu_times()
        return float(used.user + used.system)

    def __call__(self) -> dict[str, float]:
        memory, now = self._psutil.virtual_memory(), (time.monotonic(), self._cpu_seconds())
        elapsed, used = now[0] - self._last[0], now[1] - self._last[1]
        self._last = now
        return {
            "system/cpu_utilization_percentage": self._psutil.cpu_percent(),
            "system/system_memory_usage_megabytes": memory.used / 1e6,
            "system/system_memory_usage_percentage": memory.percent,
            "system/process_memory_megabytes": self._process.memory_info().rss / 1e6,
            "system/process_cores": used / max(elapsed, 1e-9),
        }


class _Gpus:
    def __init__(self, nvml: Any) -> None:
        self._nvml = nvml
        nvml.nvmlInit()
        self._devices = [nvml.nvmlDeviceGetHandleByIndex(k) for k in range(nvml.nvmlDeviceGetCount())]

    def __call__(self) -> dict[str, float]:
        values = {}
        for number, device in enumerate(self._devices):
            load, memory = self._nvml.nvmlDeviceGetUtilizationRates(device), self._nvml.nvmlDeviceGetMemoryInfo(device)
            values[f"system/gpu_{number}_utilization_percentage"] = float(load.gpu)
            values[f"system/gpu_{number}_memory_usage_megabytes"] = memory.used / 1e6
        return values
