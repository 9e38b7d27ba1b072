"""How this process keeps to the limits that all senders share (DESIGN §6, ADR 0024).

``Shaper`` is the whole of it: it says what is this process's own of a site's limits, which sites are slow, and holds
the mails of those until their turn or until it is time for the ladder.

**What can fail**: the broker. Without it this process has no slots and begins no mail to a named site; it learns of no
override. Mails that wait belong to whoever gets their parcel then.

**Who retries**: every loop in here goes on after a lost connection. Nothing in here sends mail or counts attempts.
"""
