"""What every service needs to run and that knows nothing of mail.

Settings from the environment, JSON logs, the metrics and health port, orderly shutdown, and a link to RabbitMQ with
confirmed publishes.
"""
