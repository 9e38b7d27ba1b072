"""A private Prometheus on a loopback port: scrapes what it is told to, and evaluates the rules it is given."""

import json
import shutil
import signal
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any
from urllib.parse import urlencode, urlsplit

import httpx

from mailwarren.devstack.errors import DevstackError
from mailwarren.devstack.loopback import no_tls
from mailwarren.devstack.ports import free_ports
from mailwarren.devstack.private_server import PrivateServer
from mailwarren.devstack.process import ProcessSpec

BROKER_FAMILIES = ("queue_coarse_metrics", "queue_consumer_count")
"""What rules and dashboards need of RabbitMQ's ``/metrics/detailed``: of each queue, of no channel or connection."""


def service_targets(metrics_urls: Mapping[str, str]) -> list[dict[str, Any]]:
    """Scrape jobs for services by name, from the addresses of their ``/metrics``."""
    return [
        {"job_name": name, "static_configs": [{"targets": [urlsplit(url).netloc]}]}
        for name, url in metrics_urls.items()
    ]


def broker_targets(host: str, vhost: str) -> list[dict[str, Any]]:
    """Scrape jobs for a RabbitMQ whose Prometheus port is ``host`` (``name:port``)."""
    target = [{"targets": [host]}]
    detailed = {"vhost": [vhost], "family": list(BROKER_FAMILIES)}
    return [
        {"job_name": "rabbitmq", "static_configs": target},
        {
            "job_name": "rabbitmq-queues",
            "metrics_path": "/metrics/detailed",
            "params": detailed,
            "static_configs": target,
        },
    ]


class Prometheus(PrivateServer):
    """One server and its samples.

    Args:
        home: its folder; samples of an earlier run are used again.
        scrape: ``scrape_configs``, as :func:`service_targets` and :func:`broker_targets` make them.
        rules: files of rules, by path or glob.
        interval: seconds between two scrapes, and between two evaluations.
        port: a free one unless given.
    """

    NAME = "prometheus"
    TITLE = "Prometheus"
    START_SECONDS = 30.0

    def __init__(
        self,
        home: Path,
        *,
        scrape: Sequence[Mapping[str, Any]],
        rules: Sequence[Path | str] = (),
        interval: float = 15.0,
        port: int | None = None,
        log: Path | None = None,
    ) -> None:
        super().__init__(home, log=log)
        self._scrape = scrape
        self._rules = [str(path) for path in rules]
        self._interval = f"{max(1, round(interval * 1000))}ms"
        self._port = port

    @property
    def url(self) -> str:
        """``http://127.0.0.1:port``.

        Raises:
            DevstackError: neither ``prepare`` nor ``start`` was called yet.
        """
        if self._port is None:
            raise DevstackError("the private Prometheus has not been prepared yet")
        return f"http://127.0.0.1:{self._port}"

    @property
    def _config(self) -> Path:
        return self.home / "prometheus.yml"

    def prepare(self) -> None:
        """Writes the configuration. The port stays the same for this object."""
        self.home.mkdir(parents=True, exist_ok=True)
        self._port = self._port or free_ports(1)[0]
        timing = {
            "scrape_interval": self._interval,
            "scrape_timeout": self._interval,
            "evaluation_interval": self._interval,
        }
        # JSON is YAML.
        config = {"global": timing, "rule_files": self._rules, "scrape_configs": list(self._scrape)}
        self._config.write_text(json.dumps(config, indent=1))

    def specs(self) -> tuple[ProcessSpec]:
        """The server. Call ``prepare`` first."""
        flags = (
            f"--config.file={self._config}",
            f"--storage.tsdb.path={self.home / 'data'}",
            f"--web.listen-address={urlsplit(self.url).netloc}",
            "--web.enable-lifecycle",
        )
        return (
            ProcessSpec(
                name=self.NAME,
                argv=(_program(), *flags),
                cwd=str(self.home),
                log=str(self.log),
                stop_seconds=10,
                death_signal="TERM",
            ),
        )

    def is_up(self) -> bool:
        """Whether it answers queries."""
        try:
            return httpx.get(f"{self.url}/-/ready", timeout=2, verify=no_tls()).status_code == httpx.codes.OK
        except httpx.HTTPError:
            return False

    def query(self, expression: str) -> list[dict[str, Any]]:
        """The samples that an expression has now: ``metric`` (labels) and ``value`` (time, text)."""
        found: list[dict[str, Any]] = self.get("/query", query=expression)["result"]
        return found

    def get(self, path: str, **parameters: str) -> Any:
        """``data`` of an answer of its HTTP API, below ``/api/v1``.

        Raises:
            DevstackError: it refused the call; the message is its own.
        """
        answer = httpx.get(f"{self.url}/api/v1{path}?{urlencode(parameters)}", timeout=30, verify=no_tls())
        body = answer.json()
        if body["status"] != "success":
            raise DevstackError(f"Prometheus refused {path} {parameters}: {body['error']}")
        return body["data"]

    def kill(self) -> None:
        """SIGKILL, as a power cut would."""
        if self.NAME in self._processes:
            self._processes[self.NAME].kill(signal.SIGKILL)

    def remove(self) -> None:
        """Kills what runs and deletes the samples."""
        self.kill()
        shutil.rmtree(self.home, ignore_errors=True)


def _program() -> str:
    found = shutil.which("prometheus")
    if found is None:
        raise DevstackError("Prometheus is not installed: bin/bootstrap --with-prometheus installs it, or says how.")
    return found
