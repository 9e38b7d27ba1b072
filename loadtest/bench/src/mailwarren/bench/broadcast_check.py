"""``make broadcast-check``: a broadcast to 100,000 contacts while the API answers single mails.

How long until the first batch is in the broker, how many recipients a second after that, what the API's callers wait
meanwhile, what the statistics cost, and that everybody got one mail.
"""

import argparse
import json
import statistics
import sys
import threading
import time
from collections.abc import Sequence

import msgspec

from mailwarren.bench.http_client import Posted
from mailwarren.bench.ours import post, single_bodies
from mailwarren.bench.sizing import say
from mailwarren.bench.stand import Stand, tidy_on_sigterm
from mailwarren.bench.work import make_work
from mailwarren.devstack.harness.counts import Promise, compare
from mailwarren.devstack.harness.lists import broadcast_row, make_segment, promised
from mailwarren.devstack.harness.system import wait_for

DOMAINS = 50
API_RATE = 50.0
"""Single mails a second beside it."""
LATEST_START = 2.0
LEAST_RATE = 5000
LONGEST_WAIT = 0.15
"""What has to hold: seconds, recipients a second, and the p99 of the API's answers in seconds."""


class Found(msgspec.Struct):
    """What was measured. Times are seconds."""

    contacts: int
    start: float
    """From the call of ``send`` until the first batch was noted as published."""
    expansion: float
    """From the call until the last batch was."""
    rate: float
    """Recipients a second, from the first batch on."""
    api_p50: float
    api_p99: float
    api_most: float
    api_mails: int
    """Single mails that were sent meanwhile, at a steady rate."""
    stats: float
    """A call of the statistics, when all is recorded."""
    delivered: float
    """From the call until the sink had everything."""
    ledger: str
    doubled: int


def main() -> None:
    """Exit status 1 when something is missing, doubled, or slower than it has to be."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--contacts", type=int, default=100_000)
    parser.add_argument("--no-bounds", action="store_true", help="measure only: on a machine with other work")
    args = parser.parse_args()
    tidy_on_sigterm()
    with Stand() as stand:
        found = measure(stand, args.contacts)
    print(json.dumps(msgspec.to_builtins(found), indent=2))
    wrong = [] if found.ledger == "balanced" and not found.doubled else [found.ledger, f"{found.doubled} doubled"]
    if not args.no_bounds:
        wrong += [
            words
            for words, bad in (
                (f"the start took {found.start:.2f} s", found.start > LATEST_START),
                (f"{found.rate:.0f} recipients a second", found.rate < LEAST_RATE),
                (f"the API's p99 was {found.api_p99 * 1000:.0f} ms", found.api_p99 > LONGEST_WAIT),
            )
            if bad
        ]
    if wrong:
        sys.exit("; ".join(wrong))


def measure(stand: Stand, count: int) -> Found:
    """One broadcast to ``count`` contacts."""
    system = stand.system
    api = system.api
    if api is None:
        raise RuntimeError("the stand has no API")
    system.start_worker(wait=False)
    system.start_scheduler(wait=False)
    system.wait_ready()
    say(f"{count} contacts")
    segment, people = make_segment(system, count, domains=DOMAINS)
    for table in ("contacts", "contact_segments"):
        system.query(f"ANALYZE {table}")
    body = {
        "segment_id": segment, "from": "Ada <ada@sender.test>", "send": True,
        "subject": "News for {{{contact.first_name|you}}}",
        "html": "<p>Hello {{{contact.first_name|you}}}, " + "this is what is new. " * 50 + "</p>",
    }  # fmt: skip
    # What is made once: connections, statements, the compiled template.
    post(stand, "/emails", single_bodies(make_work(200, tag="w")), connections=8)
    say("sending, with single mails beside it")
    posted: list[Posted] = []
    calls = single_bodies(make_work(int(API_RATE * (count / LEAST_RATE + 5)), tag="s"))
    beside = threading.Thread(
        target=lambda: posted.extend(post(stand, "/emails", calls, connections=64, rate=API_RATE)), daemon=True
    )
    beside.start()
    time.sleep(1)
    began = time.time()
    answer = api.post("/broadcasts", json=body)
    answer.raise_for_status()
    broadcast = str(answer.json()["id"])
    first, last = _follow(stand, broadcast)
    waits = sorted(one.seconds for one in posted_between(posted, beside, began, last))
    say(f"published after {last - began:.1f} s; until everything is delivered and recorded")
    promises = promised(system, broadcast, people)
    extra = len(calls) + 200
    stand.sink.wait_for(count + extra, 1800)
    delivered = time.time() - began
    stand.wait_ended(count + extra, 1800)
    at = time.monotonic()
    shown = api.get(f"/broadcasts/{broadcast}/stats").raise_for_status().json()
    took = time.monotonic() - at
    ledger, doubled = _ledger(stand, promises)
    if (shown["recipients"], shown["delivered"], shown["published"]) != (count, count, count):
        ledger = f"{ledger}; but the statistics say {shown}"
    return Found(
        contacts=count,
        start=first - began,
        expansion=last - began,
        rate=count / (last - first) if last > first else 0.0,
        api_p50=statistics.median(waits),
        api_p99=waits[int(len(waits) * 0.99)],
        api_most=waits[-1],
        api_mails=len(waits),
        stats=took,
        delivered=delivered,
        ledger=ledger,
        doubled=doubled,
    )


def posted_between(posted: Sequence[Posted], beside: threading.Thread, since: float, until: float) -> list[Posted]:
    """The single mails that were due while the broadcast was expanded; all have their answers by then."""
    beside.join()
    return [one for one in posted if since <= one.started_at <= max(until, since + 2)]


def _ledger(stand: Stand, promises: list[Promise]) -> tuple[str, int]:
    system = stand.system
    if system.sink is None:
        raise RuntimeError("the stand has no sink")
    wait_for(lambda: not compare(promises, system.states(), {}).missing_rows, 60, "the last rows")
    found = compare(promises, system.states(), system.sink.pairs())
    found.strangers_at_sink.clear()  # the single mails
    return ("balanced" if found.balanced else str(found)), len(found.doubled)


def _follow(stand: Stand, broadcast: str) -> tuple[float, float]:
    """When the first batch was noted as published, and the last."""
    first, end = 0.0, time.time() + 600
    while True:
        row = broadcast_row(stand.system, broadcast)
        now = time.time()
        first = first or (now if row["published"] else 0.0)
        if row["state"] == "sent":
            return first, now
        if now > end:
            raise TimeoutError(f"the broadcast is {row['state']} after ten minutes")
        time.sleep(0.1)


if __name__ == "__main__":
    main()
