"""No binding on ``mail.accept`` is a wildcard.

It would make a key that no send queue has routable to the tracker alone: recorded as accepted, never sent, and
``mandatory`` would not complain.
"""

from functools import cached_property

from kombu import Queue, binding

from mailwarren.contracts.topology import Topology


def wildcards(topology: Topology) -> list[str]:
    return [
        f"{queue.name} is bound with {bound.routing_key}"
        for queue in topology.all_queues
        for bound in queue.bindings
        if bound.exchange.name == topology.accept.name and {"*", "#"} & set(bound.routing_key)
    ]


def test_no_binding_on_mail_accept_is_a_wildcard() -> None:
    assert wildcards(Topology()) == []
    assert wildcards(Topology(prefix="p.", retry_scale=0.01)) == []


def test_a_wildcard_is_named() -> None:
    class Careless(Topology):
        @cached_property
        def everything(self) -> Queue:
            return Queue("tracker.accepted.all", bindings=[binding(self.accept, routing_key="bulk.#")])

        @property
        def all_queues(self) -> list[Queue]:
            return [*super().all_queues, self.everything]

    assert wildcards(Careless()) == ["tracker.accepted.all is bound with bulk.#"]
