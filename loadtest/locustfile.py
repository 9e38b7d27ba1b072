"""Locust's way in: every kind of user.

``make load`` starts it. By hand, with the key in MAILWARREN_API_KEY:

    locust -f loadtest/locustfile.py --host http://127.0.0.1:8080/v1 --stop-timeout 60

A day or a spike: ``-f loadtest/locustfile.py,loadtest/scenarios/day.py``.
One kind of user: name its class at the end.
"""

from scenarios import hooks
from scenarios.broadcasts import Broadcaster
from scenarios.posters import BatchPoster, BulkPoster, SinglePoster
from scenarios.readers import DeliveryWatcher, StatusReader
from scenarios.receivers import WebhookReceiver

__all__ = [
    "BatchPoster",
    "Broadcaster",
    "BulkPoster",
    "DeliveryWatcher",
    "SinglePoster",
    "StatusReader",
    "WebhookReceiver",
]

hooks.attach()
