"""A heartbeat file for liveness probes: its age says whether the process still turns. A gauge says it of each loop.

``celery inspect ping`` as a probe costs CPU and fails when only the broker is down, and then restarts what a restart
cannot help.
"""

from pathlib import Path

from mailwarren.runtime.metrics import record_beat


class Heartbeat:
    """Touched by each loop that must be alive; the file is as old as the slowest of them.

    Args:
        path: the file, or None for no file.
        loops: the names of the loops that have to beat.
    """

    def __init__(self, path: Path | None, loops: tuple[str, ...]) -> None:
        self._path = path
        self._waiting = set(loops)
        self._loops = frozenset(loops)

    def beat(self, loop: str) -> None:
        """``loop`` is alive. The file is touched when all have said so since the last time."""
        record_beat(loop)
        self._waiting.discard(loop)
        if not self._waiting and self._path is not None:
            self._path.touch()
            self._waiting = set(self._loops)
