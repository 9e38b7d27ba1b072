"""What happens around the users: the ledger is written, workers end in order, progress and metrics are shown.

In a distributed run the workers send what was accepted with their statistics, and the master writes it. Before the
master lets the workers go it has them finish their calls (``drain``) and waits until each has said so (``drained``):
Locust itself would wait half a second, and the answers after that would be in nobody's account.
"""

import json
import logging
import sys
from typing import Any

import gevent
from locust import events
from locust.env import Environment
from locust.html import get_html_report
from locust.runners import MasterRunner, WorkerRunner
from prometheus_client import CollectorRegistry, start_http_server

from mailwarren.load.ledger import Writer
from mailwarren.load.metrics import LoadCollector
from mailwarren.load.plan import STOP_TIMEOUT
from scenarios.progress import Progress
from scenarios.session import session

ROWS = "mailwarren_rows"
"""Where a worker's report carries lines of the ledger."""
DRAIN, DRAINED = "mailwarren_drain", "mailwarren_drained"
_WRITE_EVERY = 0.5
_log = logging.getLogger("mailwarren.load")


class Hooks:
    """Listeners of one process."""

    def __init__(self, environment: Environment) -> None:
        self._environment = environment
        self._runner: Any = environment.runner
        self._writer: Writer | None = None
        self._drained: set[str] = set()
        self._writing: Any = None
        if isinstance(self._runner, WorkerRunner):
            self._attach_worker()
        else:
            self._attach_head()

    # A worker

    def _attach_worker(self) -> None:
        on = self._environment.events
        on.test_start.add_listener(lambda **_: session.begin(self._runner.worker_index + 1))
        on.report_to_master.add_listener(lambda client_id, data: data.__setitem__(ROWS, session.take_rows()))  # noqa: ARG005
        self._runner.register_message(DRAIN, self._drain, concurrent=True)

    def _drain(self, **_: Any) -> None:
        session.end()
        self._runner.stop()
        self._runner.send_message(DRAINED, {ROWS: session.take_rows()})

    # The master, or the only process

    def _attach_head(self) -> None:
        plan = session.plan
        self._writer = Writer(plan.folder)
        progress = Progress(self._runner, self._writer, plan)
        on = self._environment.events
        on.worker_report.add_listener(lambda client_id, data: self._write(data.get(ROWS) or []))  # noqa: ARG005
        on.test_start.add_listener(lambda **_: self._begin(progress))
        on.test_stopping.add_listener(lambda **_: self._end())
        on.quit.add_listener(lambda exit_code, **_: self._save(progress, exit_code))
        if isinstance(self._runner, MasterRunner):
            self._runner.register_message(DRAINED, self._note_drained)
        else:
            self._writing = gevent.spawn(self._write_often)
        if plan.metrics:
            registry = CollectorRegistry()
            registry.register(LoadCollector(progress))
            host, _, port = plan.metrics.rpartition(":")
            start_http_server(int(port), addr=host, registry=registry)

    def _begin(self, progress: Progress) -> None:
        session.begin(0)
        self._drained.clear()
        progress.start()

    def _write(self, rows: list[Any]) -> None:
        if self._writer is not None:
            self._writer.write(rows)

    def _write_often(self) -> None:
        while True:
            gevent.sleep(_WRITE_EVERY)
            self._write(session.take_rows())

    def _note_drained(self, msg: Any, **_: Any) -> None:
        self._write(msg.data[ROWS])
        self._drained.add(msg.node_id)

    def _end(self) -> None:
        """All calls that are under way get their answers; then Locust goes on with its own end."""
        if session.ending:
            return
        session.end()
        if not isinstance(self._runner, MasterRunner):
            return
        workers = {client.id for client in self._runner.clients.all}
        self._runner.send_message(DRAIN)
        try:
            with gevent.Timeout(STOP_TIMEOUT + 10):
                while workers - self._drained:
                    gevent.sleep(0.05)
        except gevent.Timeout:
            _log.error(
                "%d workers did not end in time; the answers that they had are lost", len(workers - self._drained)
            )
            self._environment.process_exit_code = 1

    def _save(self, progress: Progress, exit_code: int) -> None:
        """After the last answer: the report, and the numbers for whoever started us."""
        if self._writer is None:
            return
        self._write(session.take_rows())
        progress.stop()
        folder = session.plan.folder
        if self._environment.stats.total.num_requests:
            page = get_html_report(self._environment, show_download_link=False)
            (folder / "report.html").write_text(page, encoding="utf-8")
        (folder / "summary.json").write_text(json.dumps(progress.summary(exit_code)) + "\n", encoding="utf-8")
        self._writer.close()
        self._writer = None
        sys.stdout.flush()


def attach() -> None:
    """Called once, by the locustfile."""
    events.init.add_listener(lambda environment, **_: setattr(environment, "mailwarren", Hooks(environment)))
