"""Waits until every service says that it can do its work, and explains the one that does not."""

import time
from collections.abc import Sequence

import httpx

from mailwarren.devstack.control import ProcessStatus, Supervisor
from mailwarren.devstack.errors import DevstackError
from mailwarren.devstack.process import log_tail
from mailwarren.devstack.system import Service

READY_SECONDS = 60.0
_DEATHS = 3
"""After so many restarts a service will not come up by waiting."""
_POLL_SECONDS = 0.1


def wait_ready(services: Sequence[Service], supervisor: Supervisor, seconds: float = READY_SECONDS) -> None:
    """Returns when all are ready.

    Raises:
        DevstackError: one keeps dying, or is not ready in time; with the end of its log and what to do.
    """
    deadline = time.monotonic() + seconds
    waiting = list(services)
    with httpx.Client(timeout=2) as client:
        while waiting := [service for service in waiting if not is_ready(service, client)]:
            known = supervisor.status()
            for service in waiting:
                process = known[service.spec.name]
                if process.restarts >= _DEATHS:
                    raise DevstackError(_explain(process, f"keeps ending (last exit status {process.last_exit})"))
                if time.monotonic() > deadline:
                    raise DevstackError(_explain(process, f"is not ready after {seconds:.0f} s"))
            time.sleep(_POLL_SECONDS)


def is_ready(service: Service, client: httpx.Client) -> bool:
    """Whether one of its addresses answers 200."""
    for url in service.ready_urls:
        try:
            if client.get(url).status_code == httpx.codes.OK:
                return True
        except httpx.HTTPError:
            continue
    return False


def _explain(process: ProcessStatus, problem: str) -> str:
    return (
        f"{process.name} {problem}. The end of {process.log}:\n{log_tail(process.log, 20)}\n"
        "Everything was stopped again. When it is mended, run the same command."
    )
