"""What a run does: which users, how many, how fast, for how long. Locust's processes get it by the environment."""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

PREFIX = "MAILWARREN_LOAD_"
PATIENCE = 45.0
"""Seconds for which a call is repeated after the run has ended."""
STOP_TIMEOUT = 60
"""Seconds for which Locust lets users end their last call: longer than their patience."""


class Scenario(StrEnum):
    """A name on the command line."""

    MIXED = "mixed"
    SINGLE = "single"
    BATCH = "batch"
    BULK = "bulk"
    STATUS = "status"
    SPIKE = "spike"
    DAY = "day"
    BROADCAST = "broadcast"
    WEBHOOK = "webhook"


READERS = ("StatusReader", "DeliveryWatcher")
USERS: Mapping[Scenario, tuple[str, ...]] = {
    Scenario.MIXED: ("SinglePoster", "BatchPoster", "BulkPoster", *READERS),
    Scenario.SINGLE: ("SinglePoster", "DeliveryWatcher"),
    Scenario.BATCH: ("BatchPoster", "DeliveryWatcher"),
    Scenario.BULK: ("BulkPoster", "DeliveryWatcher"),
    Scenario.STATUS: READERS,
    Scenario.SPIKE: ("SinglePoster", *READERS),
    Scenario.DAY: ("SinglePoster", "BatchPoster", "BulkPoster", *READERS),
    Scenario.BROADCAST: ("Broadcaster", "SinglePoster", "DeliveryWatcher"),
    Scenario.WEBHOOK: ("SinglePoster", "WebhookReceiver"),
}
"""Locust's user classes of a scenario."""
WEIGHTS: Mapping[str, int] = {
    "SinglePoster": 12, "BatchPoster": 2, "BulkPoster": 1, "StatusReader": 4, "DeliveryWatcher": 1,
    "Broadcaster": 4, "WebhookReceiver": 3,
}  # fmt: skip
"""Of twenty users, how many are of each kind; broadcasters and receivers come beside them."""
LIST = 500
"""Contacts of a broadcaster, or fewer where ``most`` says so."""
SHARES: Mapping[str, float] = {"SinglePoster": 0.4, "BatchPoster": 0.2, "BulkPoster": 0.4}
"""The part of a given rate of mails that each kind posts, where all three post."""
SHAPES: Mapping[Scenario, str] = {Scenario.SPIKE: "spike.py", Scenario.DAY: "day.py"}
"""Files of ``scenarios/`` with a LoadTestShape."""


@dataclass(frozen=True, slots=True)
class Plan:
    """One run.

    Args:
        run: names it in every mail's metadata and Idempotency-Keys.
        seconds: how long; 0 until somebody stops it.
        rate: mails a second of all users together; None: each user at its own pace.
        most: recipients of the largest bulk call.
        real_names: whether providers' own domain names may be used: mail was seen to end at a sink.
        folder: for ledger, reports and logs.
        metrics: ``HOST:PORT`` of the master's ``/metrics``; empty for none.
    """

    run: str
    scenario: Scenario = Scenario.MIXED
    users: int = 20
    rate: float | None = None
    seconds: int = 60
    most: int = 10_000
    seed: int = 20_260_601
    real_names: bool = False
    folder: Path = Path()
    metrics: str = ""

    def environment(self) -> dict[str, str]:
        """As variables for Locust's processes."""
        values = {
            "RUN": self.run,
            "SCENARIO": self.scenario.value,
            "USERS": self.users,
            "RATE": self.rate or "",
            "SECONDS": self.seconds,
            "MOST": self.most,
            "SEED": self.seed,
            "REAL_NAMES": int(self.real_names),
            "FOLDER": self.folder,
            "METRICS": self.metrics,
        }
        return {f"{PREFIX}{name}": str(value) for name, value in values.items()}

    @classmethod
    def of(cls, environment: Mapping[str, str]) -> "Plan":
        """The plan that :meth:`environment` wrote; what is missing has its default.

        Locust can be started without us: ``locust -f loadtest/locustfile.py --host http://…/v1``.
        """
        given = {name.removeprefix(PREFIX): value for name, value in environment.items() if name.startswith(PREFIX)}
        return cls(
            run=given.get("RUN") or "by-hand",
            scenario=Scenario(given.get("SCENARIO") or Scenario.MIXED),
            users=int(given.get("USERS") or 20),
            rate=float(given["RATE"]) if given.get("RATE") else None,
            seconds=int(given.get("SECONDS") or 0),
            most=int(given.get("MOST") or 10_000),
            seed=int(given.get("SEED") or 20_260_601),
            real_names=given.get("REAL_NAMES") == "1",
            folder=Path(given.get("FOLDER") or "."),
            metrics=given.get("METRICS") or "",
        )

    def pace(self, user: str) -> float | None:
        """Mails a second that one user of a kind should post; None when each goes at its own pace."""
        kinds = [kind for kind in USERS[self.scenario] if kind in SHARES]
        if self.rate is None or user not in kinds:
            return None
        share = SHARES[user] / sum(SHARES[kind] for kind in kinds)
        weights = sum(WEIGHTS[kind] for kind in USERS[self.scenario])
        # Locust gives every kind at least one user when there are enough.
        return self.rate * share / max(1.0, self.users * WEIGHTS[user] / weights)
