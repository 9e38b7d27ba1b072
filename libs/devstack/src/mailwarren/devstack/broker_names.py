"""Removes from a broker what carries a name prefix, and nothing else, so that tests can share one broker."""

from urllib.parse import quote, unquote, urlsplit

import httpx

from mailwarren.devstack.loopback import no_tls

_RETRY_SCALES = (1.0, 0.01)
"""A rung's name tells its waiting time, so each scale has rungs of its own."""


def delete_prefixed(amqp_url: str, prefix: str, management_url: str | None = None) -> int:
    """Deletes the queues and exchanges of the topology under ``prefix``; returns how many names were tried.

    With a management API also those that are no part of the topology.

    Raises:
        ValueError: the prefix is empty; that would delete a system.
    """
    if not prefix:
        raise ValueError("refusing to delete queues without a prefix")
    queues, exchanges = _of_topology(prefix)
    if management_url:
        vhost = quote(unquote(urlsplit(amqp_url).path[1:]) or "/", safe="")
        queues = _listed(f"{management_url}/api/queues/{vhost}", prefix, otherwise=queues)
        exchanges = _listed(f"{management_url}/api/exchanges/{vhost}", prefix, otherwise=exchanges)
    from kombu import Connection

    with Connection(amqp_url, connect_timeout=5) as connection:
        channel = connection.default_channel
        for name in sorted(queues):
            channel.queue_delete(queue=name)
        for name in sorted(exchanges):
            channel.exchange_delete(exchange=name)
    return len(queues) + len(exchanges)


def _of_topology(prefix: str) -> tuple[set[str], set[str]]:
    from mailwarren.contracts.topology import Topology

    topologies = [Topology(prefix, scale) for scale in _RETRY_SCALES]
    queues = {str(queue.name) for topology in topologies for queue in topology.all_queues}
    return queues, {str(exchange.name) for topology in topologies for exchange in topology.all_exchanges}


def _listed(url: str, prefix: str, *, otherwise: set[str]) -> set[str]:
    try:
        answer = httpx.get(url, params={"columns": "name"}, timeout=30, verify=no_tls())
        listed = answer.raise_for_status().json()
    except httpx.HTTPError:
        return otherwise
    return {str(row["name"]) for row in listed if str(row["name"]).startswith(prefix)}
