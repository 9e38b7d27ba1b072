"""Everything that crosses a queue: its types, names, keys and bytes.

The queue is an API. A value that one service publishes and another consumes is a type of this package, has a
version, and has a golden file in ``tests/unit/golden``. Changes are additive; anything else is a new version,
which old consumers put back on the ladder instead of guessing (:mod:`mailwarren.contracts.codec`).

Nothing here does I/O. The order to read: :mod:`.lanes`, :mod:`.routing`, :mod:`.parcel`, :mod:`.events`,
:mod:`.settle`, :mod:`.shaping`, :mod:`.codec`, :mod:`.topology`.
"""
