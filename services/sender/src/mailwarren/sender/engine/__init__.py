"""Celery, and only here: the worker's connection, queues, prefetch and signals; the mail path is asyncio.

Celery hands every message to :func:`.strategy.strategy` through its public ``Task.Strategy`` hook. From there it
crosses into one asyncio loop in a thread of its own (:mod:`.handover`), and only its ack comes back. One process has
one loop; a fleet scales by processes.
"""
