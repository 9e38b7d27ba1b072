"""A backup is taken while mail flows, the database is destroyed, and the system goes on with a restored one.

What docs/operations/backup.md promises of each way is what is checked here.
"""

import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from mailwarren.devstack.harness.load import Load
from mailwarren.devstack.harness.system import System, wait_for
from mailwarren.devstack.postgres import Postgres
from mailwarren.devstack.postgres_copies import base_backup, dump, execute, make_owned, receive_wal, restore
from mailwarren.devstack.postgres_files import place
from mailwarren.devstack.process import LocalProcess
from mailwarren.devstack.state import write_json

pytestmark = [pytest.mark.e2e, pytest.mark.slow]


@pytest.fixture
def new_server(own_postgres: Postgres, devstack_scratch: Any) -> Iterator[Postgres]:
    """Where the backup will be restored: the old server's address and password, as behind the same Service."""
    home = devstack_scratch.home("new-server")
    home.mkdir(parents=True)
    write_json(home / "account.json", own_postgres.account)
    made = Postgres(home)
    try:
        yield made
    finally:
        made.remove()


def test_a_dump_gives_back_all_up_to_its_beginning(
    system_with_own_postgres: System, own_postgres: Postgres, new_server: Postgres, tmp_path: Path
) -> None:
    system = system_with_own_postgres
    system.start_all()
    system.start_scheduler(wait=False)
    system.start_worker()
    tmp_path.chmod(0o755)
    backup = place(own_postgres.home).data.parent / "backup"
    make_owned(place(own_postgres.home), backup)
    with Load(system, every=0.2, recipients=20) as load:
        wait_for(lambda: len(_delivered(system)) >= 100, 30, "the first mails")
        before = _delivered(system)
        dump(own_postgres, backup / "mailwarren.dump")
        at_dump = load.accepted
        wait_for(lambda: load.accepted >= at_dump + 100, 30, "mail after the dump", load.check)
        wait_for(lambda: len(_delivered(system)) >= len(before) + 60, 30, "its delivery")
        # The scheduler first: nothing may fall due against a database that knows less than the world does.
        system.services["scheduler"].stop()
        kept = backup.parent / "kept.dump"
        shutil.move(backup / "mailwarren.dump", kept)
        _destroy(own_postgres)
        away = load.accepted
        wait_for(lambda: load.accepted >= away + 60, 30, "mail accepted without a database", load.check)
        new_server.start()
        restore(new_server, kept)
        back = load.accepted
        wait_for(lambda: load.accepted >= back + 60, 30, "mail accepted afterwards", load.check)
    assert load.refused == 0
    # What was accepted without a database, and afterwards, has its records: they waited in the broker.
    found = system.settle(load.promises[away:], timeout=60)
    assert not (found.missing_rows or found.without_end or found.delivered_but_not_at_sink), str(found)
    states = system.states()
    # All that had ended when the dump began is there.
    assert all(states.get(key) == "delivered" for key in before)
    # What is lost: records of mail between the dump and the end, and none of the mail itself.
    lost = [number for number, one in enumerate(load.promises) if (one.email_id, one.address) not in states]
    assert lost
    assert max(lost) < away
    assert system.sink
    wait_for(lambda: len(system.sink.pairs()) >= load.accepted, 20, "every mail at the sink")  # type: ignore[union-attr]
    assert not any(pair.answered > 1 for pair in system.sink.pairs().values())
    (overdue,) = system.query("SELECT count(*) AS n FROM periodic_jobs WHERE next_run_at < now() - interval '1 day'")
    assert overdue["n"] == 0
    system.start_scheduler("scheduler-again")
    assert system.left_in_broker() == {}


def test_a_base_backup_and_the_archived_log_lose_nothing(
    system_with_own_postgres: System, own_postgres: Postgres, new_server: Postgres, devstack_scratch: Any
) -> None:
    system = system_with_own_postgres
    system.start_all()
    files = place(new_server.home)
    archive, base = new_server.home / "archive", files.data
    for folder in (archive, new_server.home / "log"):
        make_owned(files, folder)
    execute(own_postgres.database_url, "SELECT pg_create_physical_replication_slot('archive', true)")
    log = new_server.home / "pg_receivewal.log"
    receiver = LocalProcess(receive_wal(own_postgres, files, archive, log, slot="archive"))
    devstack_scratch.record(receiver.pid, "pg_receivewal")
    try:
        execute(
            own_postgres.database_url,
            "ALTER SYSTEM SET synchronous_standby_names = 'pg_receivewal'",
            "SELECT pg_reload_conf()",
        )
        with Load(system, every=0.2, recipients=20) as load:
            wait_for(lambda: len(_delivered(system)) >= 100, 30, "the first mails")
            shutil.rmtree(base)
            make_owned(files, base)
            base_backup(own_postgres, files, base)
            at_backup = load.accepted
            wait_for(lambda: load.accepted >= at_backup + 100, 30, "mail after the backup", load.check)
            wait_for(lambda: len(_delivered(system)) >= at_backup + 60, 30, "its delivery")
            known = _delivered(system)
            _destroy(own_postgres)
            receiver.stop()  # it would wait for the server to come back, and ask a new one for the old one's log
            away = load.accepted
            wait_for(lambda: load.accepted >= away + 60, 30, "mail accepted without a database", load.check)
            _recover(base, archive)
            new_server.start()
            assert known.keys() <= _delivered(system).keys()
    finally:
        receiver.stop()
    found = system.settle(load.promises, timeout=60)
    assert found.balanced, str(found)
    assert not found.doubled
    assert load.refused == 0
    assert system.left_in_broker() == {}


def _recover(base: Path, archive: Path) -> None:
    """Have the next start replay the archive to its end; the segment in the making is named ``.partial``."""
    settings = base / "postgresql.auto.conf"
    command = f'cp "{archive}/%f" "%p" || cp "{archive}/%f.partial" "%p"'
    with settings.open("a") as conf:
        conf.write(f"restore_command = '{command}'\nsynchronous_standby_names = ''\n")
    signal_file = base / "recovery.signal"
    signal_file.touch()
    shutil.chown(signal_file, settings.owner(), settings.group())


def _destroy(server: Postgres) -> None:
    """The crash, and the disk with it."""
    data = place(server.home).data
    server.crash()
    shutil.rmtree(data)


def _delivered(system: System) -> dict[tuple[str, str], str]:
    return {key: state for key, state in system.states().items() if state == "delivered"}
