"""The demo: a CSV of 10,000 recipients, each sent a personalised mail through the API, every one accounted for.

:func:`run` drives a system that is already up. It reads the recipients, tells the sink how their mail servers behave
(:mod:`.personas`), posts in all three lanes (:mod:`.posting`), waits until every delivery has an end, and lays four
independent counts side by side (:mod:`.ledger`): the ids that the API answered, the rows in Postgres, the pairs at the
sink, and the messages still in the broker.

Calls to the API carry an Idempotency-Key and are repeated when the answer is 503 or missing; nothing else is retried.
What can fail is told to a person in one message, and in the exit status.
"""

from collections.abc import Mapping
from pathlib import Path

BALANCED = 0
"""Exit status: the ledger balances."""
UNBALANCED = 1
"""Exit status: it does not, or deliveries were still without an end when the time was over."""
NOT_RUN = 2
"""Exit status: the demo could not begin, or a part of the system could not be reached on the way."""
INTERRUPTED = 130
"""Exit status: Ctrl-C."""

TIMEOUT = 150.0
"""Seconds after the last post in which every delivery should have an end."""


def run(
    environment: Mapping[str, str] | None = None,
    *,
    csv: Path | None = None,
    timeout: float = TIMEOUT,
    plain: bool | None = None,
) -> int:
    """Send to every recipient of ``csv`` and print the ledger; returns the exit status.

    Args:
        environment: ``MAILWARREN_API_URL``, ``_API_KEY``, ``_SINK_URL``, ``_AMQP_URL`` and ``_DATABASE_URL``, as in
            ``.local/env``; ``_MANAGEMENT_URL``, ``_AMQP_PREFIX`` and ``_RETRY_SCALE`` when there are any. The
            process's own environment unless given.
        csv: UTF-8 with a header; the 10,000 recipients that come with this package unless given.
        timeout: seconds to wait for ends after the last post, and longer while ends still come.
        plain: lines instead of progress bars; when standard output is no terminal unless given.
    """
    from mailwarren.devstack.demo.show import run_shown

    return run_shown(environment, csv=csv, timeout=timeout, plain=plain)
