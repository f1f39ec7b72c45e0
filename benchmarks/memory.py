"""The memory that a process and its children take."""

import threading
import time

import psutil

SAMPLE_SECONDS = 0.25


class MemorySampler(threading.Thread):
    """Watches a process and its children; ``peak`` is the largest sum of their proportional memory, in bytes."""

    def __init__(self, pid: int) -> None:
        super().__init__(daemon=True)
        self.process, self.peak = psutil.Process(pid), 0

    def run(self) -> None:
        """Sample until the process ends."""
        try:
            while self.process.is_running() and self.process.status() != psutil.STATUS_ZOMBIE:
                self.peak = max(self.peak, self._sample())
                time.sleep(SAMPLE_SECONDS)
        except psutil.NoSuchProcess:
            return

    def _sample(self) -> int:
        total = 0
        for process in [self.process, *self.process.children(recursive=True)]:
            try:
                # Proportional: pages that several processes share count once.
                total += process.memory_full_info().pss
            except psutil.Error:
                continue
        return total
