"""``make broker-loss``: nodes of a RabbitMQ of three are killed under load; the cost, and that nothing is lost.

All connections and all queues' leaders are at the node that is killed first, which is as bad as it gets. It comes back,
catches up, and then another one is killed: what is there after that, the first one really has.
"""

import argparse
import shutil
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

import msgspec

from mailwarren.bench.sizing import say
from mailwarren.bench.stand import tidy_on_sigterm
from mailwarren.devstack.harness.load import Load
from mailwarren.devstack.harness.system import System
from mailwarren.devstack.postgres import Postgres
from mailwarren.devstack.rabbitmq_cluster import RabbitMQCluster, until
from mailwarren.devstack.state import LocalDir

RECIPIENTS = 100
EVERY = 0.2
"""Seconds between two calls: 500 mails a second are offered, which two cores with three brokers can do."""


class Phase(msgspec.Struct):
    """What happened between two events."""

    name: str
    seconds: float
    accepted: float
    """Mails a second that the API said yes to."""
    delivered: float
    """Mails a second that the sink said 250 to."""
    refused: int
    """Calls without a yes: 503, or no answer."""
    first_yes: float
    """Seconds until a call was accepted."""
    longest: float
    """Seconds that a call took, at most."""
    pause: float
    """Seconds without a delivery, at most."""


class Verdict(msgspec.Struct):
    """The counts at the end."""

    promised: int
    lost: int
    """Promised, and without a row, an end or a copy at the sink."""
    doubled: int
    """Sent twice: their outcome had not reached the broker when it died."""
    unasked: int
    """At the sink, and neither promised nor in a call that got no answer."""
    left: dict[str, int]
    """Messages that are still in queues."""

    @property
    def holds(self) -> bool:
        """Nothing accepted is lost, nothing is made up."""
        return not (self.lost or self.unasked or self.left)


def main(argv: Sequence[str] | None = None) -> int:
    """Run it; exit status 1 when a mail is lost."""
    parser = argparse.ArgumentParser(prog="python -m mailwarren.bench.broker_loss", description=__doc__)
    parser.add_argument("--seconds", type=float, default=15.0, help="of each phase (default 15)")
    asked = parser.parse_args(argv)
    tidy_on_sigterm()
    base = LocalDir.of_clone().path / "bench"
    base.mkdir(parents=True, exist_ok=True)
    base.chmod(0o755)
    root = Path(tempfile.mkdtemp(dir=base))
    root.chmod(0o755)
    cluster, postgres = RabbitMQCluster(root / "rabbitmq"), Postgres(root / "postgres")
    system: System | None = None
    try:
        say("three RabbitMQ nodes, Postgres, the services")
        postgres.start()
        cluster.start()
        system = System(root, amqp_url=cluster.amqp_url, database_url=postgres.database_url)
        system.prepare()
        system.start_all(senders=2)
        phases, verdict = run(system, cluster, asked.seconds)
    finally:
        if system is not None:
            system.close()
        cluster.remove()
        postgres.remove()
        shutil.rmtree(root, ignore_errors=True)
    print(table(phases))
    print(
        f"\n{verdict.promised:,} mails promised, {verdict.lost} lost, {verdict.doubled} sent twice,"
        f" {verdict.unasked} unasked for, left in queues: {verdict.left or 'nothing'}"
    )
    print(msgspec.json.encode({"phases": phases, "verdict": verdict}).decode())
    return 0 if verdict.holds else 1


def run(system: System, cluster: RabbitMQCluster, seconds: float) -> tuple[list[Phase], Verdict]:
    """The phases, one after the other, and what came of all."""
    first, second, _ = cluster.nodes
    say(f"leaders: {leaders(cluster)}")
    phases = []
    with Load(system, every=EVERY, recipients=RECIPIENTS) as load:
        watch = _Watch(system, load)
        phases.append(watch.phase("three nodes", seconds))
        first.kill()
        phases.append(watch.phase("the leader of all, with all connections, is killed", seconds))
        say(f"leaders: {leaders(cluster)}")
        first.start(wait=False)
        phases.append(watch.phase("it comes back", seconds))
        until(lambda: cluster.running() == len(cluster.nodes), 60, "the node's return")
        until(lambda: complete(cluster), 60, "all members of all queues")
        phases.append(watch.phase("three nodes again", seconds))
        second.kill()
        phases.append(watch.phase("another one is killed", seconds))
    found = system.settle(load.promises, timeout=120)
    strangers = {address for _, address in found.strangers_at_sink}
    lost = {one for kind in (found.missing_rows, found.without_end, found.delivered_but_not_at_sink) for one in kind}
    return phases, Verdict(
        promised=load.accepted,
        lost=len(lost),
        doubled=len(found.doubled),
        unasked=len(strangers - load.unanswered),
        left=system.left_in_broker(),
    )


def leaders(cluster: RabbitMQCluster) -> str:
    """How many quorum queues each node leads."""
    counts: dict[str, int] = {}
    for queue in cluster.quorum_queues():
        leader = str(queue.get("leader", "none")).partition("@")[0][-2:]
        counts[leader] = counts.get(leader, 0) + 1
    return ", ".join(f"{name}: {count}" for name, count in sorted(counts.items()))


def complete(cluster: RabbitMQCluster) -> bool:
    """Whether every queue has all its members online."""
    queues = cluster.quorum_queues()
    online = [one.get("online") for one in queues]
    return bool(queues) and all(isinstance(one, list) and len(one) == len(cluster.nodes) for one in online)


class _Watch:
    """Looks at the sink and the client, four times a second."""

    def __init__(self, system: System, load: Load) -> None:
        self._system = system
        self._load = load

    def phase(self, name: str, seconds: float) -> Phase:
        """What happens in the next ``seconds``."""
        say(name)
        load = self._load
        begin, accepted, refused = time.monotonic(), load.accepted, load.refused
        load.longest = 0.0
        first = seen = self._delivered()
        moved, pause, first_yes = begin, 0.0, seconds
        while (now := time.monotonic()) < begin + seconds:
            load.check()
            if (count := self._delivered()) != seen:
                seen, moved = count, now
            pause = max(pause, now - moved)
            if load.accepted > accepted:
                first_yes = min(first_yes, now - begin)
            time.sleep(0.25)
        spent = time.monotonic() - begin
        return Phase(
            name=name,
            seconds=spent,
            accepted=(load.accepted - accepted) / spent,
            delivered=(seen - first) / spent,
            refused=load.refused - refused,
            first_yes=first_yes,
            longest=load.longest,
            pause=pause,
        )

    def _delivered(self) -> int:
        return int(self._system.sink.stats()["accepted"]) if self._system.sink else 0


def table(phases: Sequence[Phase]) -> str:
    """Markdown."""
    head = (
        "| | accepted/s | delivered/s | calls refused | first yes after | longest call | longest pause |\n"
        "|---|---|---|---|---|---|---|"
    )
    lines = [
        f"| {one.name} | {one.accepted:,.0f} | {one.delivered:,.0f} | {one.refused} | {one.first_yes:.1f} s "
        f"| {one.longest:.1f} s | {one.pause:.1f} s |"
        for one in phases
    ]
    return "\n".join([head, *lines])


if __name__ == "__main__":
    sys.exit(main())
