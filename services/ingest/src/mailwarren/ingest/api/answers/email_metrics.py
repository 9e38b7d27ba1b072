"""The answer of ``/v1/emails/metrics``."""

from datetime import datetime
from typing import Annotated, Any

import msgspec
from msgspec import Meta

from mailwarren.ingest.domain.email_metrics import Dimension, Granularity


class MetricsShown(msgspec.Struct, frozen=True, kw_only=True):
    """Counts of mail in a time; rates are percentages, of what was sent (delivery, bounce) or delivered."""

    object: str = "metrics"
    start_date: datetime
    end_date: datetime
    metrics: list[str]
    dimensions: list[Dimension]
    granularity: Granularity
    totals: Annotated[dict[str, Any], Meta(description="Each metric over all of the time.")]
    data: Annotated[
        list[dict[str, Any]] | msgspec.UnsetType,
        Meta(
            description=(
                "A row for each combination of the dimensions that has any mail: `period`, `domain_id` and "
                "`domain_name`, `email_id`, `broadcast_id` and `broadcast_name`, and the metrics. Absent without "
                "dimensions. Mail of no broadcast has no row by broadcast."
            )
        ),
    ] = msgspec.UNSET
