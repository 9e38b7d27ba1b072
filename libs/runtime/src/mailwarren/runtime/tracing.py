"""Spans, when OpenTelemetry is on; else the context goes through as it came, at the cost of a small object.

The context is explicit, a ``traceparent`` that the caller takes from the request or the message and gives on to the
next: mails cross threads, queues and batches, where an ambient one would be somebody else's.
"""

from types import TracebackType
from typing import Any, Literal, Protocol, Self

Kind = Literal["server", "producer", "consumer", "client", "internal"]


class Span(Protocol):
    """Something that takes time. ``traceparent`` is for what comes after it, None only if there was none before."""

    traceparent: str | None

    def __enter__(self) -> Self: ...
    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None: ...

    def name(self, name: str) -> None:
        """Call it something else than it was begun with."""

    def tell(self, **attributes: str | float | bool) -> None:
        """Say more about it; ``__`` in a name stands for a dot. Never an address, a subject or a text."""

    def fail(self, why: str) -> None:
        """Mark it as failed; ``why`` is a word of ours."""


class Spans(Protocol):
    """Where spans go: :class:`mailwarren.runtime.otlp.OtlpSpans`."""

    def begin(self, name: str, parent: str | None, kind: Kind, attributes: dict[str, Any]) -> Span:
        """A span that begins now."""
        ...

    def add(
        self, name: str, parent: str | None, kind: Kind, times: tuple[int, int], attributes: dict[str, Any]
    ) -> None:
        """A span that is over; ``times`` are its begin and end in Unix nanoseconds."""
        ...


class Passing:
    """Stands for a span where none is recorded."""

    __slots__ = ("traceparent",)

    def __init__(self, traceparent: str | None) -> None:
        self.traceparent = traceparent

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        pass

    def name(self, name: str) -> None:
        """Nothing."""

    def tell(self, **attributes: str | float | bool) -> None:
        """Nothing."""

    def fail(self, why: str) -> None:
        """Nothing."""


_spans: Spans | None = None


def record_spans(spans: Spans | None) -> None:
    """Record spans from now on; None: no longer."""
    global _spans  # noqa: PLW0603 - one process, one place for its spans
    _spans = spans


def recording() -> bool:
    """Whether spans are recorded: what only they need should not be worked out otherwise."""
    return _spans is not None


def span(name: str, parent: str | None, kind: Kind = "internal", **attributes: str | float | bool) -> Span:
    """A span that begins now and ends with its ``with``; attributes as in :meth:`Span.tell`."""
    if _spans is None:
        return Passing(parent)
    return _spans.begin(name, parent, kind, attributes)


def add_span(
    name: str, parent: str | None, kind: Kind, times: tuple[int, int], **attributes: str | float | bool
) -> None:
    """A span that is over; ``times`` are its begin and end in Unix nanoseconds."""
    if _spans is not None:
        _spans.add(name, parent, kind, times, attributes)
