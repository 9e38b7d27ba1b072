"""The sender: takes parcels from its queues, delivers them over SMTP, reports what became of each delivery.

What can fail, and who tries again
----------------------------------
* A server says 4yz, or cannot be reached: the delivery is *deferred*. It goes back to the broker on the ladder, in one
  publish that also tells the tracker, and some sender tries again when it is due. When its time is over it *expires*.
* A server says 5yz: a named rule makes it *bounced*, anything else *failed*. Nobody tries again.
* A reply that no rule knows does no harm: unknown 4yz defers, unknown 5yz fails and suppresses nobody.
* The broker is lost: what has not reached its final dot is abandoned, for it belongs to whoever gets the parcel now.
  What has, is finished, and its outcome is reported when the broker is back.
* This process dies: the broker hands its unacked parcels to another sender, which *settles* them: it asks the tracker
  what is already done. At most the mails between their final dot and the broker's confirm of their outcome are sent
  twice; a gauge shows how many that is.
* Our own code fails on a parcel: it is *parked* in ``mail.dead`` with the traceback, for a person.

Nothing is acked before what it led to is confirmed by the broker.
"""
