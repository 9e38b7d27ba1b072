"""Work that nobody waits for: ``ingest worker`` carries out the orders on ``ops.tasks``.

The worker is an ordinary Celery worker with threads, visible in Flower. An order is acked when it was carried out, so
that it comes again when its worker dies; what it works on is in the database, and a repeat finds what is left. A try
that fails waits in ``ops.retry`` (5 s, 30 s, then 5 min; never Celery's own countdown, which loses its way on quorum
queues) and after six tries the order is set aside in ``ops.dead``. While the database is away no try counts.
"""
