"""The endpoints of those who run the system: limits in force, queues, senders, dead letters. All are ours."""

from typing import Any

from mailwarren.ingest.api import dead, queues, shaping
from mailwarren.ingest.api.answers.operating import (
    DeadFull,
    DeadList,
    OverrideGone,
    OverrideShown,
    QueueList,
    Replayed,
    SenderList,
    ShapingList,
)
from mailwarren.ingest.api.endpoint import PAGE, READING, Endpoint
from mailwarren.ingest.domain.requests import ReplayBody, ShapingBody

_OPERATING: dict[str, Any] = {"method": "GET", "errors": (401, 403, 422, 503)}

ENDPOINTS = (
    Endpoint(
        "list_shaping",
        path="/v1/shaping",
        summary="Who is slowed down and why",
        handler=shaping.read_list,
        answer=ShapingList,
        query=(*PAGE, "past"),
        description=(
            "Ours: suspensions and limits of sites and tenants with their causes; the sites as senders tell of them."
        ),
        **_OPERATING,
    ),
    Endpoint(
        "create_shaping",
        method="POST",
        path="/v1/shaping",
        summary="Suspend or limit a site or a tenant",
        handler=shaping.create,
        request=ShapingBody,
        answer=OverrideShown,
        status=201,
        description="Ours: every sender obeys within 2 seconds. Mail that waits for it costs no attempt.",
        errors=(400, 401, 403, 413, 422, 503),
    ),
    Endpoint(
        "delete_shaping",
        method="DELETE",
        path="/v1/shaping/{id}",
        summary="End an override",
        handler=shaping.delete,
        answer=OverrideGone,
        description="Ours: whatever its cause. 422 when it has ended already.",
        errors=(401, 403, 404, 422, 503),
    ),
    Endpoint(
        "list_queues",
        path="/v1/queues",
        summary="What waits where",
        handler=queues.read_queues,
        answer=QueueList,
        description="Ours: the queues that mail and orders go through, as the broker has them now.",
        **_OPERATING,
    ),
    Endpoint(
        "list_senders",
        path="/v1/senders",
        summary="The sender processes that are alive",
        handler=queues.read_senders,
        answer=SenderList,
        description="Ours: by their heartbeats of the last 6 seconds.",
        **_OPERATING,
    ),
    Endpoint(
        "list_dead",
        path="/v1/dead",
        summary="Dead letters, oldest first",
        handler=dead.read_list,
        answer=DeadList,
        query=("limit", "kind"),
        description="Ours: at most 1,000, 100 without a `limit`. They stay where they are.",
        **_OPERATING,
    ),
    Endpoint(
        "read_dead",
        path="/v1/dead/{id}",
        summary="A dead letter with its headers and recipients",
        handler=dead.read,
        answer=DeadFull,
        query=("kind",),
        **READING,
    ),
    Endpoint(
        "replay_dead",
        method="POST",
        path="/v1/dead/replay",
        summary="Send dead letters back where they came from",
        handler=dead.replay,
        request=ReplayBody,
        answer=Replayed,
        query=("kind",),
        description=(
            "Ours: each leaves the dead letters when the broker has it again, and is asked about before it is sent: it "
            "may have been tried."
        ),
        errors=(400, 401, 403, 404, 413, 422, 503),
    ),
)
