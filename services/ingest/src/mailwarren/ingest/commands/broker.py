"""``mailwarren topology`` and ``mailwarren queues``: declare and look at the broker's queues, with kombu.

The only place that declares anything (DESIGN §5).
"""

import time
import tomllib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from amqp.exceptions import AMQPError, NotFound, PreconditionFailed
from kombu import Connection

from mailwarren.contracts.codec import encode, headers_of
from mailwarren.contracts.shaping import Keeper
from mailwarren.contracts.sites import NAMED_SITES, SMARTHOST, site_trouble
from mailwarren.contracts.topology import KEEPER_KEY, Topology
from mailwarren.ingest.commands import Failed

CONNECT_TIMEOUT = 3
_PAUSE = 0.5


@dataclass(frozen=True, slots=True)
class QueueDepth:
    """A queue as the broker sees it; ``messages`` None when it does not exist."""

    name: str
    messages: int | None
    consumers: int


def apply_topology(url: str, topology: Topology, wait: float) -> str:
    """Declare every exchange, queue and binding, and put the keeper's message where there is none.

    Args:
        url: of the broker.
        topology: what to declare.
        wait: seconds for the broker to come up.

    Raises:
        Failed: no broker, or something exists with other arguments.
    """
    with _connected(url, wait) as connection:
        drift: list[str] = []
        channel = connection.channel()
        for entity in (*topology.all_exchanges, *topology.all_queues):
            try:
                entity(channel).declare()
            except PreconditionFailed as error:
                # The broker closed the channel; go on, to name everything that differs at once.
                drift.append(f"{entity.name}: {error.reply_text}")
                channel = connection.channel()
        if drift:
            raise Failed(
                "These exist with other arguments, which RabbitMQ cannot change. Drain and delete them, then apply "
                "again:\n  " + "\n  ".join(drift)
            )
        _put_keeper(channel, topology)
    return f"declared {len(topology.all_exchanges)} exchanges and {len(topology.all_queues)} queues"


def _put_keeper(channel: Any, topology: Topology) -> None:
    """So that some sender fills the slots. One that is held is not seen here: a second one does no harm."""
    queue = topology.keeper_queue.name
    if channel.queue_declare(queue=queue, passive=True).message_count:
        return
    keeper = Keeper(at=time.time())
    message = channel.prepare_message(encode(keeper), headers=headers_of(keeper), properties={"delivery_mode": 2})
    channel.basic_publish_confirm(message, topology.slots.name, KEEPER_KEY)


def sites_of(path: str | None) -> tuple[str, ...]:
    """The sites that have slots: the named ones, and those of the ``[sites]`` of an operator's ``shaping.toml``.

    The senders judge the rest of the file.

    Raises:
        Failed: the file cannot be read, or a name cannot be that of a site.
    """
    if not path:
        return NAMED_SITES
    try:
        document = tomllib.loads(Path(path).read_text("utf-8"))
    except (OSError, ValueError) as error:
        raise Failed(f"the shaping rules {path} cannot be read: {error}") from error
    rows = document.get("sites", {})
    if not isinstance(rows, dict):
        raise Failed(f"the shaping rules {path}: [sites] is not a table of sites")
    for name in rows:
        if (trouble := site_trouble(name)) is not None:
            raise Failed(f"the shaping rules {path}: [sites.{name}] {trouble}")
    return tuple(dict.fromkeys((*NAMED_SITES, *(name for name in rows if name != SMARTHOST))))


def show_topology(topology: Topology) -> list[dict[str, Any]]:
    """What :func:`apply_topology` declares."""
    shown: list[dict[str, Any]] = [
        {"exchange": exchange.name, "type": exchange.type, "arguments": exchange.arguments or {}}
        for exchange in topology.all_exchanges
    ]
    shown += [
        {
            "queue": queue.name,
            "arguments": queue.queue_arguments,
            "bindings": [f"{bound.exchange.name} {bound.routing_key}" for bound in queue.bindings],
        }
        for queue in topology.all_queues
    ]
    return shown


def queue_depths(url: str, topology: Topology, wait: float) -> list[dict[str, Any]]:
    """Ready messages and consumers of every queue.

    Raises:
        Failed: no broker.
    """
    with _connected(url, wait) as connection:
        return [asdict(_depth(connection, queue.name)) for queue in topology.all_queues]


def _depth(connection: Any, name: str) -> QueueDepth:
    channel = connection.channel()
    try:
        found = channel.queue_declare(queue=name, passive=True)
    except NotFound:
        return QueueDepth(name, None, 0)
    channel.close()
    return QueueDepth(name, found.message_count, found.consumer_count)


@contextmanager
def _connected(url: str, wait: float) -> Iterator[Any]:
    connection = Connection(url, connect_timeout=CONNECT_TIMEOUT)
    deadline = time.monotonic() + wait
    while True:
        try:
            connection.ensure_connection(max_retries=1, interval_start=0, reraise_as_library_errors=False)
            break
        except (OSError, AMQPError) as error:
            if time.monotonic() >= deadline:
                parts = urlsplit(url)
                raise Failed(f"no broker at {parts.hostname}:{parts.port} after {wait:g} s: {error}") from error
            time.sleep(_PAUSE)
    try:
        yield connection
    except AMQPError as error:
        raise Failed(f"the broker refused: {error}") from error
    finally:
        connection.release()
