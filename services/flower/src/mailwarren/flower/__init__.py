"""Flower over all workers: the real one, read-only, with a roll call.

Senders send no events: at mail rates events would double the broker's work. So Flower would not know them. The roll
call (:mod:`.rollcall`) asks all workers every few seconds and tells Flower who answered. Tasks and their states come
as events from ``ingest worker`` alone; mail is no Celery task that Flower could show.
"""
