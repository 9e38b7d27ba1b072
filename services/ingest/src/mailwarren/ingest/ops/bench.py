"""What jobs and errands work with."""

from collections.abc import Callable
from dataclasses import dataclass

from mailwarren.ingest.adapters.database import Database
from mailwarren.ingest.settings import OpsSettings

REPEATED = "nothing: this run ended before, or a newer one has replaced it"
"""What a job or an errand returns that finds itself a repeat."""


@dataclass(frozen=True, slots=True)
class Bench:
    """What a job works with. It asks ``stopping`` now and then, and then ends with what it has."""

    database: Database
    settings: OpsSettings
    stopping: Callable[[], bool]
