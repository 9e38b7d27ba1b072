"""A day in the time of the run: few users before dawn, most at ten, and bulk mail while a campaign is on."""

from locust import LoadTestShape, User

from mailwarren.load.curves import day_users, is_campaign
from scenarios.posters import BatchPoster, BulkPoster, SinglePoster
from scenarios.readers import DeliveryWatcher, StatusReader
from scenarios.session import session

Tick = tuple[int, float, list[type[User]]]


class Day(LoadTestShape):
    """``USERS`` is the number at the peak, ``TIME`` how long the day takes."""

    use_common_options = True

    def __init__(self) -> None:
        super().__init__()
        self.last: Tick | None = None

    def tick(self) -> Tick | None:
        """Locust asks every second."""
        if session.ending:
            # What was said last: a shape that ends while the run is ending would end it twice.
            return self.last
        plan = session.plan
        passed = self.get_run_time()
        users = day_users(plan.users, passed, plan.seconds)
        if users is None:
            return None
        kinds: list[type[User]] = [SinglePoster, BatchPoster, StatusReader, DeliveryWatcher]
        if is_campaign(24 * passed / plan.seconds):
            kinds.append(BulkPoster)
            users = max(users, len(kinds))
        self.last = (users, max(10.0, users / 2), kinds)
        return self.last
