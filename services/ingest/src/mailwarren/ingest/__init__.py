"""Ingest: the HTTP API. Validates, publishes, answers.

A call is accepted when RabbitMQ has confirmed every parcel of it (:mod:`.submit`). What can fail, and who retries:

* A request that cannot be sent as it stands is refused with words that say what to change (:mod:`.domain.refusal`).
  Nothing of it was published; the client corrects it.
* No room, no broker, no confirm: 503 with ``Retry-After``. The client retries, with an Idempotency-Key when a second
  mail would hurt. What a lost confirm left open is reported to the tracker as ``unconfirmed``.
* No Postgres: calls without an Idempotency-Key go on (keys are cached, addresses are not checked against the
  suppression list, which is counted); keyed calls and reads get 503.

Read in the order of the journey: :mod:`.api.emails`, :mod:`.submit`, :mod:`.domain.parcels`, :mod:`.adapters.broker`.
"""
