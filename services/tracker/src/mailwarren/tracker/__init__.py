"""The tracker: what became of every mail, from the queues into Postgres.

``tracker consume`` reads the acceptances of three lanes, sixteen event partitions (outcomes, deferrals, questions,
cancels) and the dead letters over one channel, writes them in batches, one transaction each, and acks a batch when it
is committed. The way of a message: :mod:`.adapters.inbox` → :mod:`.consume` (collect) → :mod:`.domain.read` (what does
it ask for) → :mod:`.record` (until it is written) → :mod:`.adapters.store` (one transaction, in which
:mod:`.domain.fold` and :mod:`.domain.status` decide) → answers → ack.

What may fail, and who tries again:

- *The database is away, restarts, or ends a deadlock at our cost*: the batch stays in hand and is tried again, after
  0.2 s and later every 5 s, until it is written. Not ready meanwhile, but alive. The broker holds what comes behind it.
- *The database refuses a row* (a NUL, a number out of range), *or a message meets a bug of ours*: the batch is halved
  until the event or the delivery is alone. It goes to ``mail.dead`` with the reason, the rest is written.
- *More octets than may be in hand*: the channel is closed and opened with a smaller prefetch; what was in
  hand comes again.
- *Upkeep fails* (a partition that is being read cannot be dropped): logged, and tried again 10 minutes later.
- *A message does not decode*: ``mail.dead`` likewise. What came from ``mail.dead`` is only counted.
- *A message is of a newer version*: its queue is left, in its order, to a newer tracker. Without one it waits, as it
  would while the tracker is away, and this one is not ready and says why; it looks again every 10 s.
- *The broker's connection is lost*: the batch at hand is still written but not acked; everything unacked comes again,
  and finds its own rows.
- *The process dies*: the same. Commit comes before ack, and every id comes from the messages, so a message that comes
  again changes nothing and is counted nowhere twice.
- *An answer is lost*: the sender asks again.

Why order holds. A partition has a single active consumer, its messages arrive in order on one channel, batches are
taken from the front, and nothing is requeued. So a question is answered when everything before it is committed. A
tracker that stops finishes its batch, acks it and closes the channel; it never cancels a consumer, for then the broker
would give the next tracker messages that stand behind unacked ones. Between queues there is no order: an outcome may
overtake its acceptance, a dead letter the deferral before it, and two senders may report one attempt. The state
machine is made for that (:mod:`.domain.status`).
"""
