"""``/``, ``/healthz``, ``/readyz`` and ``/metrics`` on the API's own port, without a key."""

import msgspec
from prometheus_client import CONTENT_TYPE_LATEST, generate_latest
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from mailwarren.ingest.api.answers.links import Links
from mailwarren.runtime.health import Health
from mailwarren.runtime.metrics import record_checks

_JSON = "application/json"


def health_routes(health: Health) -> list[Route]:
    """The routes."""

    async def links(request: Request) -> Response:
        base = str(request.base_url).rstrip("/")
        found = Links("Mailwarren", f"{base}/docs", f"{base}/openapi.json", f"{base}/v1")
        return Response(msgspec.json.encode(found), media_type=_JSON)

    async def alive(_request: Request) -> Response:
        return Response(b'{"status":"alive"}', media_type=_JSON)

    async def ready(_request: Request) -> Response:
        report = health.report()
        # Without the reasons, which name hosts and users: this port may be the world's. The metrics port tells them.
        return Response(msgspec.json.encode(report.checks), 200 if report.ready else 503, media_type=_JSON)

    async def metrics(_request: Request) -> Response:
        record_checks(health.report().checks)
        return Response(generate_latest(), headers={"Content-Type": CONTENT_TYPE_LATEST})

    return [
        Route("/", links),
        Route("/healthz", alive),
        Route("/readyz", ready),
        Route("/metrics", metrics),
    ]
