"""``tracker webhooks``: tells the tenants' servers what has happened, signed, again and again until they have it.

:mod:`.dispatch` claims what is due and sends it, :mod:`.results` writes down what came of it, :mod:`.upkeep` gives up
and forgets. What can fail is the receiver (its event waits for its next try), the database (everything waits; what is
on its way is tried again when its lease is over) and this process (the same). So an event may arrive twice, with the
same id; it is never lost. Any number of processes share the work.
"""
