"""``make sizing``: the figures of docs/operations/sizing.md, measured here: Markdown tables, then one JSON line."""

import argparse
import datetime as dt
import os
import platform
import sys
from collections.abc import Sequence

import msgspec
import psutil

from mailwarren.bench import sizing_senders, sizing_storage
from mailwarren.bench.stand import Stand, tidy_on_sigterm


def main(argv: Sequence[str] | None = None) -> int:
    """Measure all of it, about five minutes."""
    parser = argparse.ArgumentParser(prog="python -m mailwarren.bench.sizing", description=__doc__)
    parser.add_argument("--scale", type=float, default=1.0, help="more or fewer mails everywhere (default 1)")
    asked = parser.parse_args(argv)
    tidy_on_sigterm()
    with Stand(senders={}) as stand:
        where = machine(stand)
        say("storage: what waits, what is kept")
        waiting = [sizing_storage.measure_waiting(stand, cell, asked.scale) for cell in sizing_storage.CELLS]
        kept = sizing_storage.measure_kept(stand, asked.scale)
    senders: list[sizing_senders.Sized] = []
    with Stand(senders={}) as stand:
        sizing_senders.warm_up(stand)
        for cell in sizing_senders.CELLS:
            say(f"one sender, replies after {cell.latency_ms} ms")
            senders.append(sizing_senders.measure_sender(stand, cell, asked.scale))
        say("one tracker")
        tracker = sizing_senders.measure_tracker(stand, asked.scale)
    print(where)
    for part in (
        sizing_senders.sender_table(senders),
        sizing_storage.waiting_table(waiting),
        sizing_storage.kept_table(kept),
        sizing_senders.tracker_line(tracker),
    ):
        print(f"\n{part}")
    found = {"machine": where, "senders": senders, "waiting": waiting, "kept": kept, "tracker": tracker}
    print(f"\n{msgspec.json.encode(found).decode()}")
    return 0


def say(what: str) -> None:
    """What is being measured, for who waits."""
    print(f"==> {what}", file=sys.stderr, flush=True)


def machine(stand: Stand) -> str:
    """When, on what and with which versions."""
    (row,) = stand.system.query("select current_setting('server_version') as version")
    installation = getattr(stand.rabbitmq, "installation", None)
    rabbitmq = installation.version if installation else "in Docker"
    memory = psutil.virtual_memory().total / 2**30
    return (
        f"{dt.datetime.now(dt.UTC):%Y-%m-%d}, {os.cpu_count()} cores, {memory:.0f} GiB, "
        f"Python {platform.python_version()}, RabbitMQ {rabbitmq} (one node), Postgres {row['version']}"
    )


if __name__ == "__main__":
    raise SystemExit(main())
