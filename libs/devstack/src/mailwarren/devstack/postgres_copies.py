"""Copies of a private Postgres: standbys, base backups, dumps, and servers made from them.

The commands are the server's own, those that docs/operations/backup.md and postgres.md name; each runs as the server's
user does.
"""

import shutil
from pathlib import Path

import asyncpg

from mailwarren.devstack.databases import run_apart, with_database
from mailwarren.devstack.errors import DevstackError
from mailwarren.devstack.ports import free_ports
from mailwarren.devstack.postgres import Account, Postgres
from mailwarren.devstack.postgres_files import PostgresFiles, place
from mailwarren.devstack.process import ProcessSpec
from mailwarren.devstack.state import write_json

SYNCHRONOUS = "ANY 1 (*)"
"""``synchronous_standby_names`` with which a commit waits for any one standby."""


def plain(url: str, database: str | None = None) -> str:
    """A server's URL as Postgres' own programs take it."""
    url = url.replace("postgresql+asyncpg://", "postgresql://")
    return with_database(url, database) if database else url


def execute(url: str, *statements: str) -> None:
    """Run statements, each for itself."""

    async def run() -> None:
        connection = await asyncpg.connect(plain(url), timeout=10)
        try:
            for statement in statements:
                await connection.execute(statement)
        finally:
            await connection.close()

    run_apart(run())


def several(*servers: Postgres) -> str:
    """One URL for all of these, of which only the one that takes writes is used."""
    first = servers[0].database_url
    hosts = ",".join(f"127.0.0.1:{server.account.port}" for server in servers)
    head, _, tail = first.rpartition("@")
    return f"{head}@{hosts}/{tail.partition('/')[2]}?target_session_attrs=read-write"


class Copy(Postgres):
    """A server whose data comes from another's: a base backup of it, made by ``prepare`` when there is no data yet.

    Args:
        home: its folder.
        source: whose copy; its password is the copy's too.
        standby: go on following the source; without, the copy is a server of its own.
    """

    def __init__(self, home: Path, source: Postgres, *, standby: bool = True) -> None:
        super().__init__(home)
        self._source = source
        self._standby = standby

    def prepare(self) -> None:
        """Copies the data, if there is none yet.

        Raises:
            DevstackError: ``pg_basebackup`` failed.
        """
        files = place(self.home)
        known = self.home / "account.json"
        if not known.exists():
            write_json(known, Account(self._source.account.password, free_ports(1)[0]))
        if not (files.data / "PG_VERSION").exists():
            shutil.rmtree(files.data)
            make_owned(files, files.data)
            base_backup(self._source, files, files.data, standby=self._standby)
        super().prepare()

    def promote(self) -> None:
        """Make it a server that takes writes; returns when it does."""
        execute(self._server_url, "SELECT pg_promote(true, 30)")


def make_owned(files: PostgresFiles, folder: Path) -> None:
    """An empty folder that the server's user may fill."""
    folder.mkdir(mode=0o700, parents=True)
    if files.user is not None and files.group is not None:
        shutil.chown(folder, files.user, files.group)


def base_backup(source: Postgres, files: PostgresFiles, target: Path, *, standby: bool = False) -> None:
    """A copy of the whole server while it works, with the log that it needs.

    Raises:
        DevstackError: it failed.
    """
    options = (
        "--checkpoint=fast",
        "--wal-method=stream",
        "--no-sync",
        *(("--write-recovery-conf",) if standby else ()),
    )
    _run(files, "pg_basebackup", "-d", plain(source.database_url, "postgres"), "-D", str(target), *options)


def dump(source: Postgres, target: Path) -> None:
    """One database as of the moment at which this begins.

    Raises:
        DevstackError: it failed.
    """
    files = place(source.home)
    _run(files, "pg_dump", "--format=custom", "-d", plain(source.database_url), "-f", str(target))


def restore(server: Postgres, source: Path) -> None:
    """Fill an empty database from a dump, all or nothing.

    Raises:
        DevstackError: it failed.
    """
    files = place(server.home)
    _run(files, "pg_restore", "--single-transaction", "--exit-on-error", "-d", plain(server.database_url), str(source))


def receive_wal(source: Postgres, files: PostgresFiles, archive: Path, log: Path, *, slot: str) -> ProcessSpec:
    """The process that keeps an archive of the source's log and tells it what is safe there, as a standby does."""
    command = ("-d", plain(source.database_url, "postgres"), "-D", str(archive), "--slot", slot, "--synchronous")
    return ProcessSpec(
        name="pg_receivewal",
        argv=(str(files.programs / "pg_receivewal"), *command),
        cwd="/",
        log=str(log),
        user=files.user,
        group=files.group,
        stage=0,
    )


def _run(files: PostgresFiles, program: str, *arguments: str) -> None:
    done = files.run_named(program, *arguments)
    if done.returncode:
        raise DevstackError(f"{program} failed: {done.stderr.strip()}")
