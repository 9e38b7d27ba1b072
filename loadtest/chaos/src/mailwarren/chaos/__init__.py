"""Faults at seeded moments under load: is a mail lost, and is each one that was sent twice accounted for?

A :mod:`.plan` of faults, a load (:mod:`.posting`), a wait until all is quiet, and a ledger of four counts that no one
derives from another (:mod:`mailwarren.devstack.harness.counts`). :mod:`.judge` then holds every second copy at the sink
against the deaths of senders: who sent the first one, and had its final dot come when that sender died?

``make crash-rounds`` kills senders; ``make broker-cut`` cuts their connections to the broker, and those of a naive
worker.
"""
