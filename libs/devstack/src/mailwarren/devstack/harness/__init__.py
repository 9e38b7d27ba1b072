"""A whole Mailwarren made of real processes, for tests and measurements that stop, kill and count.

:class:`.system.System` starts each service as its own process on free ports and can kill it at any moment;
:mod:`.counts` compares what the API promised with what Postgres, the sink and the broker say.
"""
