"""The processes of the whole system: what runs, with which command line and environment. The one place that knows."""

import os
import secrets
import signal
import sys
from collections.abc import Mapping
from pathlib import Path
from urllib.parse import urlsplit

import msgspec

from mailwarren.contracts.access import OPTIONAL
from mailwarren.contracts.access import Service as Who
from mailwarren.contracts.lanes import Lane
from mailwarren.contracts.topology import send_queue_names
from mailwarren.devstack.ports import free_ports
from mailwarren.devstack.process import ProcessSpec
from mailwarren.devstack.state import LocalDir

HOST = "127.0.0.1"
ACCOUNTS = "mailwarren"
DRAIN_SECONDS = 20
"""How long a sender may finish what is in flight. A cluster's pods get six minutes; a person waits for this."""


class Addresses(msgspec.Struct, frozen=True, kw_only=True):
    """Where everything is: kept in ``system.json`` while the system runs."""

    amqp_url: str
    amqp_prefix: str
    management_url: str | None
    database_url: str
    smtp_url: str | None
    """The relay of the user, or None to send to the sink."""
    retry_scale: float
    api: int
    sink_smtp: int
    sink_http: int
    metrics: dict[str, int]
    """Metrics and health port of each service process."""
    internal: int = 0
    """Ingest's port for the other services."""
    internal_token: str = ""
    link_key: str = ""
    """What links to unsubscribe are signed with."""
    passwords: dict[str, str] = {}
    """Of each service's account; empty where the servers are not ours, and then all use the same one."""

    @property
    def api_url(self) -> str:
        """The API's base, as SDKs want it."""
        return f"http://{HOST}:{self.api}/v1"

    @property
    def sink_url(self) -> str:
        """The sink's HTTP side."""
        return f"http://{HOST}:{self.sink_http}"

    @property
    def relay(self) -> str:
        """Where the senders hand their mail."""
        return self.smtp_url or f"smtp://{HOST}:{self.sink_smtp}"


class Service(msgspec.Struct, frozen=True):
    """One process and how to see that it does its work."""

    spec: ProcessSpec
    ready_urls: tuple[str, ...]
    """Ready when one of them answers 200."""


def choose_addresses(
    *,
    amqp_url: str,
    amqp_prefix: str,
    management_url: str | None,
    database_url: str,
    smtp_url: str | None,
    retry_scale: float,
    own_accounts: bool = False,
) -> Addresses:
    """Fresh ports for a system on these servers, and passwords where each service gets an account of its own."""
    api, internal, sink_smtp, sink_http, *metrics = free_ports(4 + 5 + len(Lane))
    names = ["ingest", "worker", "scheduler", "tracker", "webhooks", *(sender_name(lane, 1) for lane in Lane)]
    return Addresses(
        amqp_url=amqp_url,
        amqp_prefix=amqp_prefix,
        management_url=management_url,
        database_url=database_url,
        smtp_url=smtp_url,
        retry_scale=retry_scale,
        api=api,
        internal=internal,
        internal_token=secrets.token_hex(16),
        link_key=secrets.token_hex(16),
        sink_smtp=sink_smtp,
        sink_http=sink_http,
        metrics=dict(zip(names, metrics, strict=True)),
        passwords={who.value: secrets.token_hex(16) for who in Who if who not in OPTIONAL} if own_accounts else {},
    )


def environment(at: Addresses) -> dict[str, str]:
    """What every process gets."""
    env = {
        "MAILWARREN_AMQP_URL": at.amqp_url,
        "MAILWARREN_AMQP_PREFIX": at.amqp_prefix,
        "MAILWARREN_DATABASE_URL": at.database_url,
        "MAILWARREN_RETRY_SCALE": str(at.retry_scale),
        "MAILWARREN_METRICS_HOST": HOST,
        "PYTHONUNBUFFERED": "1",
    }
    return env | ({"MAILWARREN_MANAGEMENT_URL": at.management_url} if at.management_url else {})


def account(at: Addresses, who: Who) -> dict[str, str]:
    """The servers as one service may use them: over its own account, if there are accounts."""
    if who not in at.passwords:
        return {}
    user, password = f"{ACCOUNTS}-{who}", at.passwords[who]
    urls = {
        "MAILWARREN_AMQP_URL": _as(at.amqp_url, user, password),
        "MAILWARREN_DATABASE_URL": _as(at.database_url, user.replace("-", "_"), password),
    }
    return urls | ({"MAILWARREN_MANAGEMENT_URL": _as(at.management_url, user, password)} if at.management_url else {})


def _as(url: str, user: str, password: str) -> str:
    parts = urlsplit(url)
    return parts._replace(netloc=f"{user}:{password}@{parts.netloc.rpartition('@')[2]}").geturl()


def access_environment(at: Addresses) -> dict[str, str]:
    """What :func:`access_command` needs beside the servers."""
    passwords = {f"MAILWARREN_{who.upper()}_PASSWORD": at.passwords[who] for who in at.passwords}
    ingest_url = account(at, Who.INGEST).get("MAILWARREN_MANAGEMENT_URL", "")
    return passwords | {
        "MAILWARREN_ACCOUNTS": ACCOUNTS,
        "MAILWARREN_BROKER_ADMIN_URL": at.management_url or "",
        "MAILWARREN_MANAGEMENT_URL": ingest_url,
    }


def access_command() -> tuple[str, ...]:
    """Makes the services' accounts; needs both servers and the schema."""
    return (_script("mailwarren"), "access", "apply")


def topology_command() -> tuple[str, ...]:
    """Declares exchanges and queues; needs the broker."""
    return (_script("mailwarren"), "topology", "apply")


def migrate_command() -> tuple[str, ...]:
    """Brings the schema up to date; needs the database."""
    return (_script("mailwarren"), "migrate")


def key_command() -> tuple[str, ...]:
    """Makes the first API key and prints ``{"id", "token"}`` as its last line; needs the schema."""
    return (_script("mailwarren"), "keys", "bootstrap", "--name", "devstack")


def services(at: Addresses, local: LocalDir) -> list[Service]:
    """Everything that keeps running, beside the servers."""
    return [
        *(sink(at, local), ingest(at, local), worker(at, local), scheduler(at, local)),
        *(tracker(at, local), webhooks(at, local)),
        *(sender(at, local, lane, 1) for lane in Lane),
    ]


def sink(at: Addresses, local: LocalDir) -> Service:
    """The scripted SMTP receiver."""
    arguments = ("--smtp", f"{HOST}:{at.sink_smtp}", "--http", f"{HOST}:{at.sink_http}")
    spec = _spec(at, local, "sink", (_script("mailwarren-sink"), *arguments))
    return Service(spec, (f"{at.sink_url}/stats",))


def ingest(at: Addresses, local: LocalDir) -> Service:
    """The HTTP API."""
    env = (
        account(at, Who.INGEST)
        | blob_store(local)
        | links(at)
        | webhook_settings(local)
        | {
            "MAILWARREN_API_HOST": HOST,
            "MAILWARREN_API_PORT": str(at.api),
            "MAILWARREN_INTERNAL_HOST": HOST,
            "MAILWARREN_INTERNAL_PORT": str(at.internal),
            "MAILWARREN_INTERNAL_TOKEN": at.internal_token,
        }
    )
    spec = _spec(at, local, "ingest", (_script("ingest"), "api"), env, stop_seconds=25)
    return Service(spec, (f"http://{HOST}:{at.api}/readyz", _health(at, "ingest")))


def blob_store(local: LocalDir) -> dict[str, str]:
    """Where attachments are kept: a folder, unless the environment says another place."""
    return {"MAILWARREN_BLOB_URL": os.environ.get("MAILWARREN_BLOB_URL") or (local.path / "blobs").as_uri()}


def links(at: Addresses) -> dict[str, str]:
    """What links in mail begin with, and are signed with."""
    if not at.link_key:
        return {}
    return {"MAILWARREN_PUBLIC_URL": f"http://{HOST}:{at.api}", "MAILWARREN_LINK_KEYS": at.link_key}


def worker_name(number: int) -> str:
    """``worker``, ``worker-2`` …."""
    return "worker" if number == 1 else f"worker-{number}"


def worker(at: Addresses, local: LocalDir, number: int = 1) -> Service:
    """Carries out orders from ``ops.tasks``."""
    name = worker_name(number)
    env = account(at, Who.INGEST) | blob_store(local) | links(at) | {"MAILWARREN_WORKER_NAME": name}
    spec = _spec(at, local, name, (_script("ingest"), "worker"), env, stop_seconds=40)
    return Service(spec, (_health(at, name),))


def scheduler(at: Addresses, local: LocalDir) -> Service:
    """Gives the worker what is due."""
    spec = _spec(at, local, "scheduler", (_script("ingest"), "scheduler"), account(at, Who.INGEST) | links(at))
    return Service(spec, (_health(at, "scheduler"),))


def tracker(at: Addresses, local: LocalDir) -> Service:
    """Writes acceptances and outcomes to Postgres."""
    spec = _spec(at, local, "tracker", (_script("tracker"), "consume"), account(at, Who.TRACKER), stop_seconds=20)
    return Service(spec, (_health(at, "tracker"),))


def webhooks(at: Addresses, local: LocalDir) -> Service:
    """Tells webhooks what has happened."""
    env = account(at, Who.TRACKER) | webhook_settings(local)
    spec = _spec(at, local, "webhooks", (_script("tracker"), "webhooks"), env, stop_seconds=25)
    return Service(spec, (_health(at, "webhooks"),))


def webhook_settings(local: LocalDir) -> dict[str, str]:
    """What ingest and the webhooks are told alike. The receivers of whoever tries this are on this machine."""
    keys = os.environ.get("MAILWARREN_DATA_KEYS") or str(local.data_keys)
    return {"MAILWARREN_DATA_KEYS": keys, "MAILWARREN_PRIVATE_WEBHOOKS": "true"}


def sender_name(lane: Lane, number: int) -> str:
    """Such as ``sender-high-1``."""
    return f"sender-{lane}-{number}"


def sender(at: Addresses, local: LocalDir, lane: Lane, number: int) -> Service:
    """One process of a lane's fleet."""
    name = sender_name(lane, number)
    queues = ",".join(send_queue_names(lanes=[lane], prefix=at.amqp_prefix))
    argv = (
        *(_script("celery"), "-A", "mailwarren.sender.main:app", "worker", "-P", "solo", "-c", "1", "-Q", queues),
        *("--without-gossip", "--without-mingle", "--without-heartbeat", "-n", f"{at.amqp_prefix}{name}@%h"),
    )
    env = account(at, Who.SENDER) | {
        "MAILWARREN_SMTP_URL": at.relay,
        "MAILWARREN_FLEET": f"sender-{lane}",
        "MAILWARREN_INTERNAL_URL": f"http://{HOST}:{at.internal}",
        "MAILWARREN_INTERNAL_TOKEN": at.internal_token,
        "MAILWARREN_BLOB_FOLDER": str(local.path / "cache" / name),
        "MAILWARREN_HEARTBEAT_FILE": str(local.run / f"{name}.beat"),
        "MAILWARREN_DRAIN_GRACE": str(DRAIN_SECONDS),
    }
    spec = _spec(at, local, name, argv, env, stop_seconds=DRAIN_SECONDS + 5, stage=2)
    return Service(spec, (_health(at, name),))


def _spec(
    at: Addresses,
    local: LocalDir,
    name: str,
    argv: tuple[str, ...],
    env: Mapping[str, str] | None = None,
    *,
    stop_seconds: float = 10,
    stage: int = 1,
) -> ProcessSpec:
    metrics = {"MAILWARREN_METRICS_PORT": str(at.metrics[name])} if name in at.metrics else {}
    return ProcessSpec(
        name=name,
        argv=argv,
        env={**environment(at), **metrics, **(env or {})},
        cwd=str(local.path),
        log=str(local.log(name)),
        stop_signal=signal.SIGTERM,
        stop_seconds=stop_seconds,
        stage=stage,
    )


def _health(at: Addresses, name: str) -> str:
    return f"http://{HOST}:{at.metrics[name]}/readyz"


def _script(name: str) -> str:
    """A command of this virtual environment, whatever the PATH says."""
    return str(Path(sys.executable).with_name(name))
