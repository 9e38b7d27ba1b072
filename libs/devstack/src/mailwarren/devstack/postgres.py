"""A private Postgres: the embedded server's programs, called directly, on a loopback port with a password."""

import secrets
import shutil
import signal
import tempfile
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import msgspec
import psutil

from mailwarren.devstack.databases import can_query, create_database, with_database
from mailwarren.devstack.errors import DevstackError
from mailwarren.devstack.ports import free_ports, is_free
from mailwarren.devstack.postgres_files import PostgresFiles, place, remove
from mailwarren.devstack.private_server import PrivateServer
from mailwarren.devstack.process import ProcessSpec
from mailwarren.devstack.state import write_json

USER = "mailwarren"
DATABASE = "mailwarren"
_SETTINGS = {
    "listen_addresses": "127.0.0.1",
    "unix_socket_directories": "",  # TCP only: a socket's path may have 107 bytes, and a clone's path is anybody's
    "shared_buffers": "128MB",
    "max_connections": "100",
    "max_wal_size": "1GB",
}
_FAST_BUT_FRAGILE = {"fsync": "off", "synchronous_commit": "off", "full_page_writes": "off"}


class Account(msgspec.Struct):
    """What outlives a restart of the server: kept in its folder, readable by its owner only."""

    password: str
    port: int


class Postgres(PrivateServer):
    """One server and its data.

    Args:
        home: its folder; data of an earlier run is used again.
        log: the file that it writes to; ``home/postgres.log`` unless given.
        durable: False saves every wait for the disk, and a crash of the machine may cost the data.
    """

    NAME = "postgres"
    TITLE = "Postgres"
    START_SECONDS = 60.0

    def __init__(self, home: Path, *, log: Path | None = None, durable: bool = True) -> None:
        super().__init__(home, log=log)
        self.durable = durable
        self._account: Account | None = None
        self._files: PostgresFiles | None = None

    @property
    def account(self) -> Account:
        """Port and password.

        Raises:
            DevstackError: neither ``prepare`` nor ``start`` was called yet.
        """
        if self._account is None:
            raise DevstackError("the private Postgres has not been prepared yet")
        return self._account

    @property
    def database_url(self) -> str:
        """``postgresql+asyncpg://mailwarren:password@127.0.0.1:port/mailwarren``, as all services take it."""
        account = self.account
        return f"postgresql+asyncpg://{USER}:{account.password}@127.0.0.1:{account.port}/{DATABASE}"

    @property
    def _server_url(self) -> str:
        return with_database(self.database_url, "postgres")

    def prepare(self) -> None:
        """Makes the data directory if there is none. The port stays the same for this object, and while it is free.

        Raises:
            DevstackError: ``initdb`` failed.
        """
        self._files = place(self.home)
        path = self.home / "account.json"
        known = msgspec.json.decode(path.read_bytes(), type=Account) if path.exists() else None
        password = known.password if known else secrets.token_hex(16)
        port = known.port if known and is_free(known.port) else free_ports(1)[0]
        self._account = self._account or Account(password, port)
        if not (self._files.data / "PG_VERSION").exists():
            self._initdb(self._files, password)
        if self._account != known:
            write_json(path, self._account)

    def specs(self) -> tuple[ProcessSpec]:
        """The server in the foreground. Call ``prepare`` first."""
        if self._files is None:
            raise DevstackError("the private Postgres has not been prepared yet")
        settings = _SETTINGS | ({} if self.durable else _FAST_BUT_FRAGILE)
        options = [part for name, value in settings.items() for part in ("-c", f"{name}={value}")]
        server = ProcessSpec(
            name=self.NAME,
            argv=(
                str(self._files.programs / "postgres"),
                *("-D", str(self._files.data), "-p", str(self.account.port)),
                *options,
            ),
            cwd=str(self._files.data),
            log=str(self.log),
            user=self._files.user,
            group=self._files.group,
            stop_signal=signal.SIGINT,  # "fast": ends sessions, keeps everything committed
            stop_seconds=20,
            death_signal="INT",
            stage=0,
        )
        return (server,)

    def wait_ready(self, is_running: Callable[[], bool]) -> None:
        """Returns when the server takes queries and the database exists.

        Raises:
            DevstackError: it ended instead, or took longer than ``START_SECONDS``.
        """
        super().wait_ready(is_running)
        create_database(self._server_url, DATABASE)

    def is_up(self) -> bool:
        """Whether the server takes queries."""
        return can_query(self._server_url)

    def kill(self) -> None:
        """Stops it as a crash would ("immediate"): the next start recovers from the write-ahead log."""
        for process in self._processes.values():
            process.kill(signal.SIGQUIT)

    def crash(self) -> None:
        """SIGKILL to the server and to all that it started, as a power cut would."""
        children = psutil.Process(self.pid).children(recursive=True) if self.pid else []
        for process in self._processes.values():
            process.kill(signal.SIGKILL)
        for child in children:  # each has a session of its own
            with suppress(psutil.NoSuchProcess):
                child.kill()

    def remove(self) -> None:
        """Kills it and deletes the data."""
        self.kill()
        remove(self.home)

    def _initdb(self, files: PostgresFiles, password: str) -> None:
        shutil.rmtree(files.data)  # what an interrupted initdb left
        files.data.mkdir(mode=0o700)
        with tempfile.NamedTemporaryFile("w", prefix="mailwarren-") as secret:
            secret.write(password)
            secret.flush()
            if files.user is not None and files.group is not None:
                shutil.chown(files.data, files.user, files.group)
                shutil.chown(secret.name, files.user, files.group)
            result = files.run_named(
                "initdb",
                *("--pgdata", str(files.data), "--username", USER, "--pwfile", secret.name),
                *("--auth", "scram-sha-256", "--encoding", "UTF8", "--locale", "C.UTF-8", "--no-sync"),
            )
        if result.returncode != 0:
            raise DevstackError(f"initdb could not make the database in {files.data}:\n{result.stderr.strip()}")
