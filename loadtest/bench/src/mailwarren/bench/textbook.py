"""The textbook design as processes: one uvicorn, one Celery worker, a queue and a table of their own."""

import os
import sys
import tempfile
import time
from collections.abc import Callable
from contextlib import ExitStack, suppress
from pathlib import Path
from types import TracebackType
from typing import Self

import psycopg
from kombu import Connection

from mailwarren.bench.work import SENDER
from mailwarren.devstack.ports import free_ports, is_open
from mailwarren.devstack.process import LocalProcess, ProcessSpec, log_tail

TABLE = "sent_mails"
_START_SECONDS = 60.0
_POLL_SECONDS = 0.02


class TextbookDied(RuntimeError):
    """A process ended, or did nothing; the text ends with what both said."""


class Textbook:
    """Start it, and take it away with its queue and its table: a context manager.

    Args:
        templates: the folder that ``mailwarren.baselines.letter`` reads.
        smtp: ``host:port`` to send to.
        queue: its name; exchanges are named after it.
        concurrency: of the worker; cores + 1 unless given.

    Raises:
        TextbookDied: on entering, when it is not ready after a minute.
    """

    def __init__(
        self,
        *,
        amqp_url: str,
        database_url: str,
        smtp: str,
        templates: Path,
        queue: str = "textbook",
        concurrency: int | None = None,
    ) -> None:
        self._amqp_url = amqp_url
        self._database = f"postgresql://{database_url.partition('://')[2]}"
        self._queue = queue
        self.concurrency = concurrency or (os.cpu_count() or 1) + 1
        (self._port,) = free_ports(1)
        self.url = f"http://127.0.0.1:{self._port}"
        self._env = {
            "TEXTBOOK_BROKER_URL": amqp_url,
            "TEXTBOOK_QUEUE": queue,
            "TEXTBOOK_DATABASE_URL": self._database.replace("postgresql:", "postgresql+psycopg:", 1),
            "TEXTBOOK_SMTP": smtp,
            "TEXTBOOK_TEMPLATES": str(templates),
            "TEXTBOOK_FROM": SENDER,
        }
        self._open = ExitStack()
        self._processes: dict[str, LocalProcess] = {}

    @property
    def api_pids(self) -> list[int]:
        """Uvicorn."""
        return [self._processes["api"].pid]

    @property
    def worker_pids(self) -> list[int]:
        """Celery's main process; the others are its children."""
        return [self._processes["worker"].pid]

    def __enter__(self) -> Self:
        try:
            home = self._open.enter_context(tempfile.TemporaryDirectory(prefix="mailwarren-textbook-"))
            self._rows = self._open.enter_context(psycopg.connect(self._database, autocommit=True))
            self._forget()
            self._open.callback(self._forget)
            api = ("uvicorn", "mailwarren.baselines.textbook_api:app", "--port", str(self._port))
            self._start("api", Path(home), *api, "--workers", "1", "--log-level", "warning")
            worker = ("celery", "--app", "mailwarren.baselines.textbook_tasks", "worker")
            self._start(
                "worker", Path(home), *worker, "--concurrency", str(self.concurrency), "--hostname", self._queue
            )
            self._wait(lambda: is_open(self._port), _START_SECONDS, "the API did not listen")
            self._wait(self._has_worker, _START_SECONDS, "the worker did not consume")
        except BaseException:
            self._open.close()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._open.close()

    def wait_rows(self, count: int, timeout: float) -> float:
        """Return when ``count`` mails are written down: the Unix time.

        Raises:
            TextbookDied: they were not within ``timeout`` seconds, or a process ended.
        """
        self._wait(lambda: self.rows() >= count, timeout, f"fewer than {count} rows")
        return time.time()

    def rows(self) -> int:
        """How many mails are written down."""
        row = self._rows.execute(f"select count(*) from {TABLE}").fetchone()  # noqa: S608 - a constant
        return row[0] if row else 0

    def forget_rows(self) -> None:
        """Empty the table."""
        self._rows.execute(f"truncate {TABLE}")

    def check(self) -> None:
        """Raise :class:`TextbookDied` when a process has ended."""
        if ended := [name for name, process in self._processes.items() if not process.is_running()]:
            raise TextbookDied(f"ended: {', '.join(ended)}\n{self._said()}")

    def _start(self, name: str, home: Path, module: str, *arguments: str) -> None:
        spec = ProcessSpec(
            name=name,
            argv=(sys.executable, "-m", module, *arguments),
            env=self._env,
            cwd=str(home),
            log=str(home / f"{name}.log"),
        )
        self._processes[name] = process = LocalProcess(spec)
        self._open.callback(process.stop)

    def _wait(self, reached: Callable[[], bool], timeout: float, otherwise: str) -> None:
        deadline = time.monotonic() + timeout
        while not reached():
            self.check()
            if time.monotonic() > deadline:
                raise TextbookDied(f"{otherwise} within {timeout:.0f} s\n{self._said()}")
            time.sleep(_POLL_SECONDS)

    def _said(self) -> str:
        return "\n".join(f"{name}:\n{log_tail(process.spec.log)}" for name, process in self._processes.items())

    def _has_worker(self) -> bool:
        with Connection(self._amqp_url) as connection, suppress(connection.channel_errors):
            declared = connection.default_channel.queue_declare(queue=self._queue, passive=True)
            return bool(declared.consumer_count)
        return False

    def _forget(self) -> None:
        self._rows.execute(f"drop table if exists {TABLE}")
        with Connection(self._amqp_url) as connection:
            channel = connection.default_channel
            channel.queue_delete(queue=self._queue)
            for name in (self._queue, f"{self._queue}.control.pidbox", f"{self._queue}.events"):
                channel.exchange_delete(exchange=name)
            channel.exchange_delete(exchange=f"reply.{self._queue}.control.pidbox")
