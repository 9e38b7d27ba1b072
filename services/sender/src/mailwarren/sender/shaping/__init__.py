"""How this process keeps to the limits that all senders share (DESIGN §6, ADR 0024).

``Shares`` says what is this process's own of each site's limits: slots that it holds (``SlotHolder``), or its part
among the living (``Roll``), under what is in force. ``Shaper`` says which mails have to wait, and lets them wait
(``WaitingRoom``) until their turn or until it is time for the ladder. ``Keeper`` fills the queues of slots; ``Heart``
tells the others that this process lives. ``Automation`` puts in force what reply rules ask for.

**What can fail**: the broker. Without it this process has no slots and begins no mail to a named site; it learns of no
override. Mails that wait belong to whoever gets their parcel then.

**Who retries**: every loop in here goes on after a lost connection. Nothing in here sends mail or counts attempts.
"""
