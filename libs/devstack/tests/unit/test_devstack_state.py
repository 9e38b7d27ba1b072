import os
import stat
import subprocess
from pathlib import Path

import msgspec

from mailwarren.devstack.state import LocalDir, ProcessRecord, State, kill_records, read_state, write_json


def test_a_running_process_is_found_and_a_gone_one_is_not() -> None:
    with subprocess.Popen(["sleep", "60"]) as process:
        record = ProcessRecord.of(process.pid, "sleeper")

        found = record.find()
        assert found is not None
        assert found.pid == process.pid
        process.kill()

    assert record.find() is None


def test_a_zombie_counts_as_gone() -> None:
    process = subprocess.Popen(["sleep", "60"])
    record = ProcessRecord.of(process.pid)
    process.kill()
    os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOWAIT)

    assert record.find() is None
    process.wait()


def test_another_process_with_the_same_pid_is_not_the_recorded_one() -> None:
    mine = ProcessRecord.of(os.getpid())
    older = msgspec.structs.replace(mine, create_time=mine.create_time - 100)

    assert mine.find() is not None
    assert older.find() is None
    assert kill_records([older]) == []


def test_killing_records_ends_the_process_and_its_children() -> None:
    shell = subprocess.Popen(["sh", "-c", "sleep 61 & wait"], start_new_session=True)
    record = ProcessRecord.of(shell.pid, "shell")
    process = record.find()
    assert process is not None
    while not process.children():
        pass
    child = ProcessRecord.of(process.children()[0].pid)

    assert kill_records([record]) == ["shell"]

    assert record.find() is None
    assert child.find() is None
    shell.wait()


def test_state_is_empty_when_there_is_none_or_it_is_damaged(tmp_path: Path) -> None:
    local = LocalDir(tmp_path)
    assert read_state(local) == State()

    local.state.write_text("{")
    assert read_state(local) == State()


def test_what_is_written_comes_back_and_is_private(tmp_path: Path) -> None:
    local = LocalDir(tmp_path)
    state = State(ProcessRecord.of(os.getpid(), "supervisor"), (ProcessRecord(1, 2.0, "ingest"),))

    write_json(local.state, state)

    assert read_state(local) == state
    assert stat.S_IMODE(local.state.stat().st_mode) == 0o600
    assert list(tmp_path.iterdir()) == [local.state]
