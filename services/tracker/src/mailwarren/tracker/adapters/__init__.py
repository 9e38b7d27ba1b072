"""The outside: Postgres below :class:`.store.PostgresLedger`, RabbitMQ in :mod:`.broker`.

SQL here is over arrays (``unnest``), one statement for a thousand rows, straight through asyncpg: that is what a
batch costs least with. Rows are locked in the order of their ids, so that two trackers rarely wait for each other in
a circle; where they do, Postgres picks one and its batch is repeated.
"""
