"""Every queue is read by somebody, or gives its messages on: mail in any other is lost in plain sight.

Who reads is taken from where it is decided: the command lines of the senders, the tracker's table, the ladder's
dead-lettering, and the modules of the services that read one queue by its name in the topology.
"""

import ast
from collections.abc import Iterable
from functools import cached_property
from pathlib import Path

from kombu import Queue, binding

from mailwarren.contracts.topology import Topology
from mailwarren.devstack.state import LocalDir
from mailwarren.devstack.system import choose_addresses, services
from mailwarren.ingest.ops.app import celery_config
from mailwarren.tracker.adapters.broker import queues_of

READING = frozenset({"consume", "get", "get_queue"})


def of_senders(topology: Topology, folder: Path) -> set[str]:
    """What stands behind ``-Q`` of the sender processes, and what the worker's Celery application consumes."""
    at = choose_addresses(
        amqp_url="amqp://broker",
        amqp_prefix=topology.prefix,
        management_url=None,
        database_url="postgresql://database",
        smtp_url=None,
        retry_scale=topology.retry_scale,
    )
    commands = [service.spec.argv for service in services(at, LocalDir(folder))]
    queues = {name for argv in commands if "-Q" in argv for name in argv[argv.index("-Q") + 1].split(",")}
    if any(argv[-1] == "worker" for argv in commands):
        queues |= {queue.name for queue in celery_config(topology)["task_queues"]}
    return queues


def given_on(topology: Topology) -> set[str]:
    """Queues whose messages expire into an exchange that leads on to others."""
    leading = {bound.exchange.name for queue in topology.all_queues for bound in queue.bindings}
    return {
        queue.name
        for queue in topology.all_queues
        if "x-message-ttl" in queue.queue_arguments and queue.queue_arguments.get("x-dead-letter-exchange") in leading
    }


def read_by_name(topology: Topology, modules: Iterable[Path]) -> set[str]:
    """Queues that a module takes from the topology, in modules that consume or get."""
    named: set[str] = set()
    for module in modules:
        tree = ast.parse(module.read_text())
        calls = {n.func.attr for n in ast.walk(tree) if isinstance(n, ast.Call) and isinstance(n.func, ast.Attribute)}
        if calls & READING:
            named |= {node.attr for node in ast.walk(tree) if isinstance(node, ast.Attribute)}
    kinds = {name: getattr(type(topology), name, None) for name in named}
    single = [getattr(topology, name) for name, kind in kinds.items() if isinstance(kind, property | cached_property)]
    read = {queue.name for queue in single if isinstance(queue, Queue)}
    # Each site's slots are taken one by one, by the method that names them.
    return read | ({queue.name for queue in topology.slot_queues} if "slot_queue" in named else set())


def unread(topology: Topology, folder: Path, modules: Iterable[Path]) -> list[str]:
    read = (
        of_senders(topology, folder)
        | set(queues_of(topology))
        | given_on(topology)
        | read_by_name(topology, modules)
    )  # fmt: skip
    return [queue.name for queue in topology.all_queues if queue.name not in read]


def modules_of_services(root: Path) -> list[Path]:
    return sorted(root.glob("services/*/src/**/*.py"))


def test_every_queue_is_read_or_given_on(root, tmp_path) -> None:
    assert unread(Topology(), tmp_path, modules_of_services(root)) == []


def test_every_queue_is_read_under_a_prefix_too(root, tmp_path) -> None:
    assert unread(Topology(prefix="p."), tmp_path, modules_of_services(root)) == []


class Larger(Topology):
    """With queues that nobody reads yet."""

    @cached_property
    def extra_queue(self) -> Queue:
        return Queue("mail.extra", bindings=[binding(self.events, routing_key="x")], queue_arguments={})

    @cached_property
    def waiting_queue(self) -> Queue:
        dead_end = {"x-message-ttl": 5, "x-dead-letter-exchange": "nobody"}
        return Queue("mail.waiting", bindings=[binding(self.events, routing_key="y")], queue_arguments=dead_end)

    @property
    def all_queues(self) -> list[Queue]:
        return [*super().all_queues, self.extra_queue, self.waiting_queue]


def test_a_queue_that_nobody_reads_is_named(root, tmp_path) -> None:
    found = unread(Larger(), tmp_path, modules_of_services(root))
    assert {"mail.extra", "mail.waiting"} <= set(found)


def test_a_module_that_only_names_a_queue_does_not_read_it(tmp_path) -> None:
    names, reads = tmp_path / "names.py", tmp_path / "reads.py"
    names.write_text("def depth(topology, declare):\n    return declare(topology.extra_queue.name)\n")
    reads.write_text("async def follow(topology, channel):\n    await channel.consume(topology.extra_queue.name)\n")
    assert read_by_name(Larger(), [names]) == set()
    assert read_by_name(Larger(), [reads]) == {"mail.extra"}


def test_a_fleet_without_a_lane_leaves_its_queues_unread(root, tmp_path, monkeypatch) -> None:
    monkeypatch.setattr(f"{__name__}.services", lambda *_: [])
    found = unread(Topology(), tmp_path, modules_of_services(root))
    assert len([name for name in found if name.startswith("send.")]) == 36
    assert "ops.tasks" in found
