"""What every service says of itself to Prometheus, whatever it does."""

import time

from prometheus_client import Gauge

_info = Gauge("mailwarren_service_info", "1, for each process, with the service that it is", ["component"])
_clock = Gauge(
    "mailwarren_service_clock_seconds",
    "The process's clock in Unix seconds when it was scraped: compare it with the sample's own time",
)
_clock.set_function(time.time)


def record_service(name: str) -> None:
    """This process is ``ingest``, ``sender``, ``tracker`` …; called by the service's own ``metrics.py``."""
    _info.labels(name).set(1)
