"""Flower over all workers: the real one, read-only, with a roll call.

Senders send no events: at mail rates events would double the broker's work. So Flower would not know them. The roll
call (:mod:`.rollcall`) asks all workers every few seconds and tells Flower who answered. Tasks and their states come
as events from ``ingest worker`` alone; mail is no Celery task that Flower could show.

What can fail: the broker. Flower connects again by itself, and the next roll call tries again; nothing is retried for
anybody else. A Flower that is away costs nobody but who looks at it, and one that starts anew has forgotten its tasks.
"""
