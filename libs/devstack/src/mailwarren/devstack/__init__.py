"""The whole system on one machine: private servers, a supervisor and every service, all below one folder.

``make up``, ``make demo`` and the tests use it. Nothing here is part of a deployment.

- Everything listens on loopback, on ports that are free and nobody's default, and lives in ``.local`` (a test gives
  another folder). The machine's own RabbitMQ and Postgres are never touched; servers named by
  ``MAILWARREN_AMQP_URL`` and ``MAILWARREN_DATABASE_URL`` are used instead of private ones.
- The supervisor owns the processes and restarts what dies. When it is killed itself, the kernel ends its children
  (``PR_SET_PDEATHSIG``), and the next ``up`` or ``down`` removes what is left.
- What can fail says what to do, in a :class:``~mailwarren.devstack.errors.DevstackError``. Nothing retries on its own
  but the supervisor.
"""
