"""The usual users, ten times as many for a while, and the usual ones again."""

from locust import LoadTestShape

from mailwarren.load.curves import SPIKE, spike_users
from scenarios.session import session


class Spike(LoadTestShape):
    """``USERS`` is the usual number, ``TIME`` how long all of it takes."""

    use_common_options = True

    def __init__(self) -> None:
        super().__init__()
        self.last: tuple[int, float] | None = None

    def tick(self) -> tuple[int, float] | None:
        """Locust asks every second."""
        if session.ending:
            # What was said last: a shape that ends while the run is ending would end it twice.
            return self.last
        users = spike_users(session.plan.users, self.get_run_time(), session.plan.seconds)
        if users is None:
            return None
        # All of a spike's users come, and go, within a second: that is what makes it one.
        self.last = (users, float(session.plan.users * SPIKE))
        return self.last
