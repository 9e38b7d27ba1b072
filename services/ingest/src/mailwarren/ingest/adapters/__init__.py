"""The outside world: RabbitMQ and Postgres. Their failures become values or refusals here."""
