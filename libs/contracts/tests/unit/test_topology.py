"""The topology: which key reaches which queue, checked with the broker's own matching rule."""

from typing import Any

import pytest
from kombu import Queue

from mailwarren.contracts.egress import WARMUP_KEY
from mailwarren.contracts.ids import PARTITIONS
from mailwarren.contracts.ladder import RUNGS
from mailwarren.contracts.lanes import Lane
from mailwarren.contracts.routing import ladder_key, partition_key, route
from mailwarren.contracts.shaping import SHAPING_KEY
from mailwarren.contracts.shards import SHARDS
from mailwarren.contracts.sites import NAMED_SITES, site_trouble
from mailwarren.contracts.topology import KEEPER_KEY, Topology, send_queue_names, slot_key


def matches(pattern: str, key: str) -> bool:
    """Whether a topic binding takes a routing key: ``*`` is one word, ``#`` any number of words."""
    return _matches(pattern.split("."), key.split("."))


def _matches(pattern: list[str], words: list[str]) -> bool:
    if not pattern:
        return not words
    if pattern[0] == "#":
        return any(_matches(pattern[1:], words[skip:]) for skip in range(len(words) + 1))
    return bool(words) and pattern[0] in ("*", words[0]) and _matches(pattern[1:], words[1:])


@pytest.mark.parametrize(
    ("pattern", "key", "taken"),
    [
        ("a.b", "a.b", True),
        ("a.b", "a.b.c", False),
        ("a.*", "a.b", True),
        ("a.*", "a", False),
        ("a.*", "a.b.c", False),
        ("a.#", "a", True),
        ("a.#", "a.b.c", True),
        ("a.#", "ab.c", False),
        ("#", "", True),
        ("#.c", "a.b.c", True),
        ("*.*.*.1", "bulk.h1.5s.1", True),
        ("*.*.*.1", "bulk.h1.5s.11", False),
    ],
)
def test_the_matcher_follows_the_rule_of_topic_exchanges(pattern: str, key: str, *, taken: bool) -> None:
    assert matches(pattern, key) is taken


def reached(topology: Topology, exchange: Any, key: str) -> set[str]:
    """The names of the queues that a publish reaches."""
    return {
        queue.name
        for queue in topology.all_queues
        for bound in queue.bindings
        if bound.exchange.name == exchange.name and (exchange.type == "fanout" or matches(bound.routing_key, key))
    }


T = Topology()
each_send_key = pytest.mark.parametrize(("lane", "shard"), [(lane, shard) for lane in Lane for shard in SHARDS])


def test_there_are_36_send_queues() -> None:
    assert len(T.send_queues) == 36
    assert len({queue.name for queue in T.send_queues}) == 36


@each_send_key
def test_an_accepted_parcel_reaches_its_send_queue_and_the_tracker(lane: Lane, shard: str) -> None:
    assert reached(T, T.accept, f"{lane}.{shard}") == {f"send.{lane}.{shard}", f"tracker.accepted.{lane}"}


@pytest.mark.parametrize("key", ["bulk.h8", "urgent.h1", "bulk", "bulk.h1.x", "", "send.bulk.h1"])
def test_an_unknown_key_reaches_nobody_so_that_mandatory_complains(key: str) -> None:
    assert reached(T, T.accept, key) == set()


def test_no_binding_on_mail_accept_is_a_wildcard() -> None:
    keys = [b.routing_key for queue in T.all_queues for b in queue.bindings if b.exchange.name == T.accept.name]
    assert len(keys) == 2 * 36
    assert not [key for key in keys if "*" in key or "#" in key]


@pytest.mark.parametrize("scale", [1.0, 0.01])
@pytest.mark.parametrize("partition", range(PARTITIONS))
def test_a_deferral_reaches_its_rung_and_its_partition_and_nothing_else(scale: float, partition: int) -> None:
    topology = Topology(retry_scale=scale)
    for lane in Lane:
        for rung in topology.ladder.names:
            key = ladder_key(lane, "h3", rung, partition)
            assert reached(topology, topology.defer, key) == {
                f"ladder.{lane}.{rung}",
                f"tracker.events.{partition}",
            }


def test_a_parcel_that_only_goes_on_waiting_reaches_its_rung_alone() -> None:
    key = ladder_key(Lane.BULK, "h3", "80s", None)
    assert reached(T, T.defer, key) == {"ladder.bulk.80s"}
    assert reached(T, T.send, key) == {"send.bulk.h3"}


@each_send_key
def test_a_rung_gives_back_to_the_send_queue_that_the_parcel_came_from(lane: Lane, shard: str) -> None:
    """Dead-lettering keeps the long routing key, so ``mail.send`` has to match it."""
    for rung in (T.ladder.names[0], T.ladder.names[-1]):
        assert reached(T, T.send, ladder_key(lane, shard, rung, 7)) == {f"send.{lane}.{shard}"}


def test_what_the_ladder_gives_back_to_nobody_is_kept_for_people() -> None:
    assert reached(T, T.send, ladder_key(Lane.BULK, "h31", "5s", 7)) == set()
    assert T.send.arguments == {"alternate-exchange": T.unrouted.name}
    assert reached(T, T.unrouted, "whatever") == {"mail.unrouted"}


def test_every_rung_dead_letters_to_mail_send_after_its_time() -> None:
    assert len(T.rung_queues) == len(Lane) * RUNGS
    for queue in T.rung_queues:
        arguments = queue.queue_arguments
        assert arguments["x-dead-letter-exchange"] == "mail.send"
        assert arguments["x-dead-letter-strategy"] == "at-least-once"
        assert "x-dead-letter-routing-key" not in arguments
        ttl = dict(zip(T.ladder.names, T.ladder.milliseconds, strict=True))[queue.name.rpartition(".")[2]]
        assert arguments["x-message-ttl"] == ttl


@pytest.mark.parametrize("partition", range(PARTITIONS))
def test_events_and_cancels_reach_their_partition(partition: int) -> None:
    queue = f"tracker.events.{partition}"
    assert reached(T, T.events, partition_key(partition)) == {queue}
    assert reached(T, T.control_log, partition_key(partition)) == {queue, "mail.control.log"}


def test_a_dead_letter_reaches_people_and_the_tracker() -> None:
    for key in ("bulk.h1", ladder_key(Lane.BULK, "h1", "5s", 3), "3"):
        assert reached(T, T.dead, key) == {"mail.dead", "tracker.dead"}


def test_send_and_tracker_queues_dead_letter_to_mail_dead() -> None:
    for queue in [*T.send_queues, *T.tracker_queues]:
        if queue.name != T.tracker_dead_queue.name:
            assert queue.queue_arguments["x-dead-letter-exchange"] == T.dead.name


def test_every_queue_is_replicated_and_none_has_a_length_limit() -> None:
    """A full target would block the ladder for everybody."""
    for queue in T.all_queues:
        arguments = queue.queue_arguments
        assert queue.durable
        assert arguments["x-queue-type"] == ("stream" if queue.name == "mail.control.log" else "quorum")
        assert not {"x-max-length", "x-max-length-bytes", "x-max-priority", "x-expires"} & set(arguments)


def limit_of(name: str) -> int:
    return 20 if name == "ops.tasks" else 50 if name.startswith("send.") else 10**9


def test_every_quorum_queue_says_its_delivery_limit() -> None:
    """RabbitMQ 4 would take 20, and every lost connection counts."""
    for queue in T.all_queues:
        if queue.queue_arguments["x-queue-type"] == "quorum":
            assert queue.queue_arguments["x-delivery-limit"] == limit_of(queue.name)


def test_at_least_once_dead_lettering_has_the_overflow_that_it_needs() -> None:
    """With drop-head RabbitMQ silently falls back to at-most-once."""
    for queue in T.all_queues:
        if "x-dead-letter-exchange" in queue.queue_arguments:
            assert queue.queue_arguments["x-dead-letter-strategy"] == "at-least-once"
            assert queue.queue_arguments["x-overflow"] == "reject-publish"


def test_one_consumer_at_a_time_reads_a_partition() -> None:
    single = [queue.name for queue in T.all_queues if queue.queue_arguments.get("x-single-active-consumer")]
    assert sorted(single) == sorted(["slots.keeper", *(f"tracker.events.{n}" for n in range(PARTITIONS))])


def test_dead_letter_targets_come_before_those_who_name_them() -> None:
    names = [queue.name for queue in T.all_queues]
    assert len(names) == len(set(names))
    assert names.index("mail.dead") < names.index("send.high.h0")
    exchanges = [exchange.name for exchange in T.all_exchanges]
    assert exchanges.index("mail.unrouted") < exchanges.index("mail.send")
    assert {b.exchange.name for queue in T.all_queues for b in queue.bindings} <= set(exchanges)


def names_in(queue: Queue) -> set[str]:
    arguments = {str(queue.queue_arguments.get(key, queue.name)) for key in ("x-dead-letter-exchange",)}
    return {queue.name, *arguments, *(bound.exchange.name for bound in queue.bindings)}


def test_the_prefix_stands_before_every_name_and_every_argument_that_is_one() -> None:
    prefixed = Topology(prefix="t7.")
    for exchange in prefixed.all_exchanges:
        assert exchange.name.startswith("t7.")
        assert all(str(value).startswith("t7.") for value in (exchange.arguments or {}).values())
    for queue in prefixed.all_queues:
        assert all(name.startswith("t7.") for name in names_in(queue))
    assert {f"t7.{queue.name}" for queue in T.all_queues} == {queue.name for queue in prefixed.all_queues}


def test_routing_keys_are_the_same_under_any_prefix() -> None:
    key = route(Lane.HIGH, "gmail.com")
    prefixed = Topology(prefix="t7.")
    assert reached(prefixed, prefixed.accept, key) == {"t7.send.high.google", "t7.tracker.accepted.high"}


def test_a_worker_names_the_queues_of_its_fleet() -> None:
    assert send_queue_names() == [queue.name for queue in T.send_queues]
    assert send_queue_names([Lane.HIGH], ["google", "h0"], prefix="x.") == ["x.send.high.google", "x.send.high.h0"]


def test_a_worker_cannot_name_a_shard_that_does_not_exist() -> None:
    with pytest.raises(ValueError, match="unknown shards: h8"):
        send_queue_names([Lane.HIGH], ["h0", "h8"])


def test_an_order_reaches_the_workers_and_nobody_else() -> None:
    (bound,) = T.ops_queue.bindings
    assert reached(T, T.ops_tasks, bound.routing_key) == {"ops.tasks"}
    assert reached(T, T.ops_tasks, "other") == set()
    assert T.ops_queue.queue_arguments["x-dead-letter-exchange"] == T.ops_dead.name
    assert reached(T, T.ops_dead, "whatever") == {"ops.dead"}


def test_an_order_that_waited_comes_back_to_the_workers() -> None:
    assert T.ops_rungs == ("5s", "30s", "300s")
    assert Topology(retry_scale=0.01).ops_rungs == ("50ms", "300ms", "3s")
    for rung, queue in zip(T.ops_rungs, T.ops_retry_queues, strict=True):
        assert reached(T, T.ops_retry, rung) == {queue.name}
        arguments = queue.queue_arguments
        back = reached(T, T.ops_tasks, arguments["x-dead-letter-routing-key"])
        assert (arguments["x-dead-letter-exchange"], back) == (T.ops_tasks.name, {"ops.tasks"})


def test_a_token_reaches_the_slots_of_its_site_and_no_other() -> None:
    assert len(T.slot_queues) == 2 * len(NAMED_SITES)
    for site in NAMED_SITES:
        assert reached(T, T.slots, slot_key(site)) == {f"slots.{site}"}
        assert reached(T, T.slots, slot_key(site, high=True)) == {f"slots.{site}.high"}
    assert reached(T, T.slots, "d.test") == set()
    assert reached(T, T.slots, KEEPER_KEY) == {"slots.keeper"}


def test_an_operators_sites_have_slots_beside_the_named_ones() -> None:
    larger = Topology("t7.", sites=(*NAMED_SITES, "d.test"))
    assert reached(larger, larger.slots, "d.test") == {"t7.slots.d.test"}
    assert {queue.name for queue in Topology("t7.").all_queues} < {queue.name for queue in larger.all_queues}


def test_nothing_takes_a_token_out_of_its_queue_but_a_sender() -> None:
    for queue in (*T.slot_queues, T.keeper_queue):
        assert not {"x-dead-letter-exchange", "x-message-ttl", "x-max-length"} & set(queue.queue_arguments)


def test_what_is_kept_and_what_is_handed_out_is_no_work_left_behind() -> None:
    topology = Topology("test.")
    idle = {queue.name for queue in topology.all_queues if not topology.holds_work(queue.name)}
    slots = {queue.name for queue in topology.slot_queues}
    assert idle == {"test.mail.control.log", "test.slots.keeper", *slots}


def test_overrides_reach_the_tracker_and_every_other_entry_does_not() -> None:
    assert reached(T, T.control_log, SHAPING_KEY) == {"mail.control.log", "tracker.shaping"}
    assert reached(T, T.control_log, "marker") == {"mail.control.log"}
    assert reached(T, T.control_log, WARMUP_KEY) == {"mail.control.log"}


@pytest.mark.parametrize("name", NAMED_SITES)
def test_a_named_site_may_be_called_so(name: str) -> None:
    assert site_trouble(name) is None


@pytest.mark.parametrize("name", ["keeper", "google.high", "Google", "", "a b", ".com", "x" * 260, "d.test/"])
def test_a_site_may_not_be_called_like_another_queue(name: str) -> None:
    assert site_trouble(name)
