"""The runs of Mailwarren itself. Each measures from the first request to the last result committed."""

import math
import time
from collections.abc import Sequence
from typing import Any

import msgspec
import uvloop

from mailwarren.bench.http_client import Posted, post_all
from mailwarren.bench.result import Result, percentiles
from mailwarren.bench.stand import Stand
from mailwarren.bench.work import HTML, SENDER, SUBJECT, TEXT, Recipient, make_work
from mailwarren.contracts.lanes import Lane

ROWS = 10_000
"""Recipients of one bulk call: the API's limit."""
ACCEPTED = (200, 202)
WARM_UP = 5_000
"""Mails that a new sender has sent before its rate counts."""
HIGH_DOMAIN = "high.test"
HIGH_PATIENCE = 120.0
"""Seconds after the last post; a mail that is not there by then counts as infinitely late."""


def bulk_bodies(
    work: Sequence[Recipient], lane: Lane = Lane.BULK, rows: int = ROWS, sender: str = SENDER
) -> list[bytes]:
    """The bulk calls for ``work``."""
    return [
        msgspec.json.encode(
            {
                "from": sender,
                "subject": SUBJECT,
                "text": TEXT,
                "html": HTML,
                "priority": lane.value,
                "recipients": [{"to": one.to, "variables": one.variables} for one in work[at : at + rows]],
            }
        )
        for at in range(0, len(work), rows)
    ]


def single_bodies(work: Sequence[Recipient], lane: Lane = Lane.NORMAL) -> list[bytes]:
    """One call each, as an application that renders its own mails makes it."""
    return [
        msgspec.json.encode(
            {
                "from": SENDER,
                "to": one.to,
                "subject": f"{one.variables['name']}, your order {one.variables['order']} is on its way",
                "text": f"Hello {one.variables['name']},\n\nyour order {one.variables['order']} has left our house.\n",
                "html": HTML.partition("<ul>")[0].replace("{{ name }}", str(one.variables["name"]))
                + HTML.partition("</ul>")[2],
                "priority": lane.value,
            }
        )
        for one in work
    ]


def post(
    stand: Stand, path: str, bodies: Sequence[bytes], *, connections: int, rate: float | None = None
) -> list[Posted]:
    """Post all; every answer has to say accepted.

    Raises:
        RuntimeError: one was not.
    """
    api = stand.system.api
    if api is None:
        raise RuntimeError("the stand has no API")
    headers = {"Authorization": f"Bearer {stand.system.token}", "Content-Type": "application/json"}
    url = str(api.base_url.join(path.lstrip("/")))
    posted = uvloop.run(post_all(url, headers, bodies, connections=connections, rate=rate))
    wrong = [one.status for one in posted if one.status not in ACCEPTED]
    if wrong:
        raise RuntimeError(f"{len(wrong)} of {len(posted)} posts were refused, such as with {wrong[0]}")
    return posted


def warm_up(stand: Stand) -> None:
    """Mails that do not count: connections, compiled templates and statements are made by them."""
    run_bulk(stand, 2_000)
    run_single(stand, 200)


def run_bulk(stand: Stand, count: int) -> Result:
    """``count`` mails in calls of 10,000."""
    return whole_way(stand, "bulk", "/emails/bulk", bulk_bodies(make_work(count)), count, connections=1)


def run_single(stand: Stand, count: int, *, connections: int = 32) -> Result:
    """``count`` posts of one mail, as fast as they are answered."""
    bodies = single_bodies(make_work(count, tag="s"))
    return whole_way(stand, "single posts", "/emails", bodies, count, connections=connections)


def run_single_at(stand: Stand, rate: float, seconds: float) -> Result:
    """Posts at a steady rate, whatever the answers take: what a caller waits."""
    count = int(rate * seconds)
    bodies = single_bodies(make_work(count, tag="r"))
    return whole_way(stand, f"single posts at {rate:.0f}/s", "/emails", bodies, count, connections=64, rate=rate)


def whole_way(stand: Stand, name: str, path: str, bodies: list[bytes], mails: int, **posting: Any) -> Result:
    """Post ``bodies`` and wait for all their ``mails``, to the last result committed."""
    stand.sink.forget()
    before = stand.ended()
    meter = stand.meter()
    meter.start()
    begin = time.monotonic()
    posted = post(stand, path, bodies, **posting)
    accepted = time.monotonic() - begin
    stand.sink.wait_for(mails)
    stand.wait_ended(before + mails)
    seconds = time.monotonic() - begin
    return Result(
        name=name,
        mails=mails,
        seconds=seconds,
        cpu=meter.read(mails),
        latency=percentiles([one.seconds for one in posted]),
        notes={"accepted_per_second": mails / accepted},
    )


def run_high_under_bulk(stand: Stand, waiting: int, high: int, rate: float) -> Result:
    """``high`` mails posted at ``rate`` while bulk mails wait and are sent: from the post to the 250.

    The stand has no sender of bulk; it is started when ``waiting`` bulk mails are in the queues.
    """
    stand.sink.forget()
    post(stand, "/emails/bulk", bulk_bodies(make_work(waiting, tag="w")), connections=1)
    stand.system.start_sender("sender-bulk", (Lane.BULK,))
    left_before = waiting - stand.sink.accepted()
    work = [Recipient(f"high{n}@{HIGH_DOMAIN}", one.variables) for n, one in enumerate(make_work(high))]
    begin = time.monotonic()
    posted = post(stand, "/emails", single_bodies(work, Lane.HIGH), connections=8, rate=rate)
    seconds = time.monotonic() - begin
    left_after = waiting + high - stand.sink.accepted()
    answered: dict[str, float] = {}
    while len(answered) < high and time.monotonic() - begin < seconds + HIGH_PATIENCE:
        time.sleep(1)
        answered = stand.answered_at(HIGH_DOMAIN)
    waits = [answered.get(one.to, math.inf) - sent.started_at for one, sent in zip(work, posted, strict=True)]
    return Result(
        name=f"high lane under {waiting:,} bulk",
        mails=high,
        seconds=seconds,
        latency=percentiles(waits),
        notes={"bulk_waiting_before": left_before, "bulk_waiting_after": left_after},
    )


def run_connections(stand: Stand, count: int) -> Result:
    """``count`` bulk mails to a sink that takes 500 ms for each; the stand gives the sender 1,000 connections."""
    if stand.system.sink:
        stand.system.sink.play({"domains": ["*"], "dot_latency_ms": 500})
    result = whole_way(stand, "sink of 500 ms", "/emails/bulk", bulk_bodies(make_work(count)), count, connections=1)
    result.notes["sender_megabytes"] = stand.memory("sender-bulk")
    return result


def run_backlog(stand: Stand, waiting: int, measured: int) -> Result:
    """The rate of ``measured`` mails while ``waiting`` others are in the queues and in the tables all the time.

    As many are posted as are sent, so that every backlog has the same work; the stand has no sender of bulk before.
    """
    stand.sink.forget()
    post(stand, "/emails/bulk", bulk_bodies(make_work(waiting + WARM_UP)), connections=1)
    stand.wait_recorded(waiting + WARM_UP)
    more = bulk_bodies(make_work(measured, tag="m"), rows=1_000)
    stand.system.start_sender("sender-bulk", (Lane.BULK,))
    stand.sink.wait_for(WARM_UP)
    meter = stand.meter()
    meter.start()
    begin, sent = time.monotonic(), stand.sink.accepted()
    post(stand, "/emails/bulk", more, connections=1)
    stand.sink.wait_for(sent + measured)
    stand.wait_ended(sent + measured)
    stand.wait_recorded(waiting + WARM_UP + measured)
    seconds = time.monotonic() - begin
    return Result(name=f"{waiting:,} waiting", mails=measured, seconds=seconds, cpu=meter.read(measured))
