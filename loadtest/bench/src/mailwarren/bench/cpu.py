"""CPU seconds of groups of processes, counted by the kernel."""

import time
from collections.abc import Iterable, Mapping

import psutil


def cpu_seconds(pids: Iterable[int]) -> float:
    """User and system seconds so far of these processes, their living descendants and their reaped children."""
    total = 0.0
    for pid in pids:
        try:
            root = psutil.Process(pid)
            family = [root, *root.children(recursive=True)]
        except psutil.NoSuchProcess:
            continue
        for process in family:
            try:
                times = process.cpu_times()
            except psutil.NoSuchProcess:
                continue
            total += times.user + times.system + times.children_user + times.children_system
    return total


class CpuMeter:
    """What each group spent since the last :meth:`start`.

    Args:
        groups: process ids by name (``sender``, ``broker`` …); a group's children count with it.
        own: name of the calling process, without its children; empty leaves it out.
    """

    def __init__(self, groups: Mapping[str, Iterable[int]], *, own: str = "") -> None:
        self._groups = {name: tuple(pids) for name, pids in groups.items()}
        self._own = own
        self._before: dict[str, float] = {}

    def start(self) -> None:
        """From now on."""
        self._before = self._now()

    def read(self, mails: int) -> dict[str, float]:
        """Microseconds of CPU for each mail, by group."""
        return {name: (now - self._before[name]) / max(mails, 1) * 1e6 for name, now in self._now().items()}

    def _now(self) -> dict[str, float]:
        spent = {name: cpu_seconds(pids) for name, pids in self._groups.items()}
        return {self._own: time.process_time()} | spent if self._own else spent
