"""Spans over OTLP/HTTP, with OpenTelemetry's SDK. Imported only where tracing is on."""

from types import TracebackType
from typing import Any, Self

from opentelemetry.context import Context
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor
from opentelemetry.trace import (
    NonRecordingSpan,
    SpanContext,
    SpanKind,
    Status,
    StatusCode,
    TraceFlags,
    set_span_in_context,
)
from opentelemetry.trace import Span as OtelSpan

from mailwarren.runtime.tracing import Kind, Span

_KINDS = {
    "server": SpanKind.SERVER,
    "producer": SpanKind.PRODUCER,
    "consumer": SpanKind.CONSUMER,
    "client": SpanKind.CLIENT,
    "internal": SpanKind.INTERNAL,
}


class OtlpSpans:
    """Batches spans in a thread of its own and sends them to a collector; what it cannot send it drops.

    The SDK's own variables hold beside ``endpoint``: ``OTEL_TRACES_SAMPLER``, ``OTEL_EXPORTER_OTLP_HEADERS``,
    ``OTEL_RESOURCE_ATTRIBUTES``, ``OTEL_BSP_…``. The provider is not made the process's, so no library adds spans.

    Args:
        service: its short name.
        endpoint: the collector's base URL, such as ``http://collector:4318``.
    """

    def __init__(self, service: str, endpoint: str) -> None:
        resource = Resource.create({"service.name": f"mailwarren-{service}", "service.namespace": "mailwarren"})
        self._provider = TracerProvider(resource=resource)
        exporter = OTLPSpanExporter(endpoint=f"{endpoint.rstrip('/')}/v1/traces")
        self._provider.add_span_processor(BatchSpanProcessor(exporter))
        self._tracer = self._provider.get_tracer("mailwarren")

    def begin(self, name: str, parent: str | None, kind: Kind, attributes: dict[str, Any]) -> Span:
        """A span that begins now."""
        return _Recorded(self._start(name, parent, kind, attributes))

    def add(
        self, name: str, parent: str | None, kind: Kind, times: tuple[int, int], attributes: dict[str, Any]
    ) -> None:
        """A span that is over."""
        self._start(name, parent, kind, attributes, times[0]).end(times[1])

    def flush(self) -> None:
        """Send what waits; the SDK does it by itself when the process ends in order."""
        self._provider.force_flush(2000)

    def _start(
        self, name: str, parent: str | None, kind: Kind, attributes: dict[str, Any], start: int | None = None
    ) -> OtelSpan:
        return self._tracer.start_span(
            name,
            context=_context(parent),
            kind=_KINDS[kind],
            attributes=_dotted(attributes),
            start_time=start,
            # An exception's text may quote a mail: its type has to do.
            record_exception=False,
            set_status_on_exception=False,
        )


class _Recorded:
    __slots__ = ("_span", "traceparent")

    def __init__(self, span: OtelSpan) -> None:
        self._span = span
        context = span.get_span_context()
        self.traceparent: str | None = (
            f"00-{context.trace_id:032x}-{context.span_id:016x}-{int(context.trace_flags):02x}"
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if kind is not None:
            self.fail(kind.__name__)
        self._span.end()

    def name(self, name: str) -> None:
        self._span.update_name(name)

    def tell(self, **attributes: str | float | bool) -> None:
        self._span.set_attributes(_dotted(attributes))

    def fail(self, why: str) -> None:
        self._span.set_attribute("error.type", why)
        self._span.set_status(Status(StatusCode.ERROR, why))


def _context(parent: str | None) -> Context:
    if parent is None:
        return Context()
    _, trace, span, flags = parent.split("-")
    before = SpanContext(int(trace, 16), int(span, 16), is_remote=True, trace_flags=TraceFlags(int(flags, 16)))
    return set_span_in_context(NonRecordingSpan(before), Context())


def _dotted(attributes: dict[str, Any]) -> dict[str, Any]:
    return {name.replace("__", "."): value for name, value in attributes.items()}
