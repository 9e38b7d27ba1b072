"""What the tracker tells of what it has recorded, in debug logs and spans."""

import logging
import time
from collections.abc import Sequence

import structlog

from mailwarren.contracts.codec import TRACE_HEADER
from mailwarren.runtime import tracing
from mailwarren.runtime.traceparent import read_traceparent, trace_id_of
from mailwarren.tracker.domain.read import Message, Work

log = structlog.get_logger()


def trace_of(message: Message) -> str | None:
    """The trace id in a message's headers, for messages that nobody can read."""
    header = message.headers.get(TRACE_HEADER)
    return trace_id_of(read_traceparent(header)) if isinstance(header, str) else None


def tell_recorded(works: Sequence[Work], began: int) -> None:
    """What was committed just now, begun at ``began`` (Unix ns). A line for each is for days when somebody looks."""
    if not (tracing.recording() or log.is_enabled_for(logging.DEBUG)):
        return
    times = began, time.time_ns()
    for work in works:
        if (parcel := work.acceptance) is not None:
            log.debug(
                "tracker.parcel.recorded",
                trace_id=trace_id_of(parcel.trace),
                parcel_id=str(parcel.id),
                deliveries=len(parcel.deliveries),
            )
            tracing.add_span("tracker record", parcel.trace, "consumer", times, mailwarren__kind="accepted")
        for report in work.reports:
            event = report.event
            known: dict[str, str | int] = {
                "kind": str(event.kind),
                "delivery_id": str(event.delivery),
                "email_id": str(event.email_id),
                "attempt": event.attempt,
            }
            log.debug("tracker.event.recorded", trace_id=trace_id_of(event.trace), **known)
            attributes = {f"mailwarren__{name}": value for name, value in known.items()}
            tracing.add_span("tracker record", event.trace, "consumer", times, **attributes)
        if (question := work.question) is not None:
            log.debug(
                "tracker.question.answered",
                trace_id=trace_id_of(question.trace),
                deliveries=len(question.deliveries),
                attempt=question.attempt,
            )
