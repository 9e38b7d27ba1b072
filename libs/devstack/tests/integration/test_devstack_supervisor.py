"""The supervisor, with small real processes: it restarts what dies and leaves nothing behind."""

import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil
import pytest

from mailwarren.devstack.control import Add, Remove, Shutdown, Signal, Start, Stop, Supervisor
from mailwarren.devstack.errors import DevstackError
from mailwarren.devstack.process import ProcessSpec
from mailwarren.devstack.state import LocalDir, ProcessRecord, read_state


class Running:
    def __init__(self, local: LocalDir) -> None:
        self.local = local
        self.process = subprocess.Popen([sys.executable, "-m", "mailwarren.devstack.supervisor", str(local.path)])
        self.control = Supervisor(local)
        _until(self.control.is_running)

    def add(self, name: str, *argv: str, stop_seconds: float = 5.0, stage: int = 1) -> ProcessSpec:
        spec = ProcessSpec(
            name=name,
            argv=argv,
            log=str(self.local.log(name)),
            cwd=str(self.local.path),
            stop_seconds=stop_seconds,
            stage=stage,
        )
        self.control.ask(Add((spec,)))
        return spec

    def pid(self, name: str) -> int | None:
        return self.control.status()[name].pid

    def log(self, name: str) -> str:
        return self.local.log(name).read_text()


@pytest.fixture
def running(tmp_path: Path) -> Iterator[Running]:
    # Longer than the 107 bytes that the path of a Unix socket may have.
    local = LocalDir(tmp_path / ("a folder with a long name " * 4) / "local")
    local.make()
    supervisor = Running(local)
    yield supervisor
    if supervisor.process.poll() is None:
        supervisor.process.terminate()
        supervisor.process.wait(timeout=20)


def _until(condition: Callable[[], bool], seconds: float = 10.0) -> float:
    started = time.monotonic()
    while not condition():
        assert time.monotonic() - started < seconds, "it did not happen"
        time.sleep(0.01)
    return time.monotonic() - started


def _gone(*records: ProcessRecord) -> bool:
    return all(record.find() is None for record in records)


def test_a_killed_process_is_back_within_two_seconds(running: Running) -> None:
    running.add("sleeper", "sleep", "600")
    for killed in range(1, 3):
        before = running.pid("sleeper")
        assert before is not None
        os.kill(before, signal.SIGKILL)

        assert _until(lambda before=before: running.pid("sleeper") not in (before, None)) < 2
        assert running.control.status()["sleeper"].restarts == killed

    assert "ended with -9" in running.log("sleeper")


def test_what_dies_at_once_is_started_less_and_less_often_and_its_log_says_so(running: Running) -> None:
    running.add("broken", "sh", "-c", "echo cannot; exit 3")

    _until(lambda: running.control.status()["broken"].restarts == 2)
    status = running.control.status()["broken"]

    assert status.last_exit == 3
    assert "next start in 0.5 s" in running.log("broken")
    assert "next start in 1 s" in running.log("broken")


def test_a_program_that_is_not_there_is_no_end_of_the_supervisor(running: Running) -> None:
    running.add("absent", "/nonexistent/program")
    running.add("sleeper", "sleep", "600")

    _until(lambda: "next start" in running.log("absent"))
    assert running.control.status()["sleeper"].state == "running"


def test_stopping_one_leaves_it_stopped_until_it_is_started(running: Running) -> None:
    running.add("sleeper", "sleep", "600")
    running.control.ask(Stop(("sleeper",)))
    assert running.control.status()["sleeper"].state == "stopped"
    time.sleep(0.3)
    assert running.pid("sleeper") is None

    running.control.ask(Start(("sleeper",)))
    assert running.control.status()["sleeper"].state == "running"

    running.control.ask(Remove(("sleeper",)))
    assert running.control.status() == {}


def test_one_that_ignores_sigterm_is_killed_after_its_grace(running: Running) -> None:
    running.add("stubborn", "sh", "-c", "trap '' TERM; echo ready; while :; do sleep 0.1; done", stop_seconds=0.5)
    _until(lambda: "ready" in running.log("stubborn"))
    record = ProcessRecord.of(running.pid("stubborn") or 0)

    running.control.ask(Remove(("stubborn",)))

    assert _gone(record)
    assert "still there after 0.5 s" in running.log("stubborn")


def test_all_are_stopped_in_order_and_the_supervisor_ends(running: Running) -> None:
    note = running.local.path / "order"
    for name, stage in (("server", 0), ("service", 1), ("sender", 2)):
        script = f"trap 'sleep 0.2; echo {name} >> order; exit 0' TERM; echo ready; while :; do sleep 0.05; done"
        running.add(name, "sh", "-c", script, stage=stage)
        _until(lambda name=name: "ready" in running.log(name))

    running.control.ask(Shutdown())

    assert running.process.wait(timeout=10) == 0
    assert note.read_text().split() == ["sender", "service", "server"]
    assert not running.local.state.exists()


def test_a_signal_reaches_the_process_and_what_it_started_dies_with_it(running: Running) -> None:
    running.add("parent", "sh", "-c", "sleep 600 & echo child $!; wait")
    _until(lambda: "child" in running.log("parent"))
    child = ProcessRecord.of(int(running.log("parent").split()[1]))

    running.control.ask(Signal("parent", signal.SIGKILL))

    _until(lambda: _gone(child))


def test_nothing_is_left_when_the_supervisor_itself_is_killed(running: Running) -> None:
    running.add("one", "sleep", "600")
    running.add("two", "sh", "-c", "trap '' TERM INT; while :; do sleep 0.1; done")
    children = read_state(running.local).processes
    assert [child.name for child in children] == ["one", "two"]

    running.process.kill()
    running.process.wait()

    assert _until(lambda: _gone(*children)) < 2


def _is_over(pid: int) -> bool:
    try:
        return psutil.Process(pid).status() == psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return True


def test_a_parent_that_dies_before_setpriv_has_asked_leaves_nothing(tmp_path: Path) -> None:
    real = shutil.which("setpriv")
    if real is None:
        pytest.fail("setpriv (util-linux) is not there")
    slow = tmp_path / "setpriv"
    slow.write_text(f'#!/bin/sh\necho asks >> {tmp_path}/log\nsleep 0.3\nexec {real} "$@"\n')
    slow.chmod(0o755)
    spec = f"ProcessSpec(name='late', argv=('sh', '-c', 'echo runs; sleep 600'), log='{tmp_path}/log', cwd='/')"
    parent = (
        "import os; from mailwarren.devstack.process import ProcessSpec, spawn; "
        f"print(spawn({spec}).pid, flush=True); os.kill(os.getpid(), 9)"
    )

    ended = subprocess.run(
        [sys.executable, "-c", parent],
        env={**os.environ, "PATH": f"{tmp_path}:{os.environ['PATH']}"},
        capture_output=True,
        text=True,
        timeout=20,
        check=False,
    )

    assert ended.returncode == -signal.SIGKILL
    _until(lambda: _is_over(int(ended.stdout)))
    assert (tmp_path / "log").read_text() == "asks\n"


def test_a_second_supervisor_for_the_same_folder_is_refused(running: Running) -> None:
    argv = [sys.executable, "-m", "mailwarren.devstack.supervisor", str(running.local.path)]

    second = subprocess.run(argv, capture_output=True, text=True, timeout=20, check=False)

    assert second.returncode != 0
    assert "runs already" in second.stderr
    assert running.control.is_running()


def test_an_unknown_process_and_a_missing_supervisor_are_told_apart(running: Running, tmp_path: Path) -> None:
    with pytest.raises(DevstackError, match="unknown process: 'nobody'"):
        running.control.ask(Stop(("nobody",)))
    elsewhere = LocalDir(tmp_path / "elsewhere")
    elsewhere.make()
    with pytest.raises(DevstackError, match="make up"):
        Supervisor(elsewhere).status()


def test_only_its_owner_may_talk_to_it(running: Running) -> None:
    assert (running.local.run / "supervisor.sock").stat().st_mode & 0o077 == 0
