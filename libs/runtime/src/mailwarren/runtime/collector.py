"""Python's cycle collector, set for servers that make and drop many objects a second.

The default looks through all young objects at every 700 allocations, and with some hundred mails in hand they are not
garbage: that was a tenth of a sender's CPU and a fifth of a tracker's. What a process imports stays for ever, and need
not be looked at again.
"""

import gc

YOUNG = 10_000
"""Allocations, less deallocations, between two collections of the youngest generation."""
MIDDLE = 20
OLD = 50


def calm_collector() -> None:
    """Call once when everything is imported and set up. Cycles are still collected, less often."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(YOUNG, MIDDLE, OLD)
