"""The endpoints of ``/v1/segments``, and of ``/v1/audiences``, which are the same under their older name."""

from functools import partial

from mailwarren.ingest.api import segments
from mailwarren.ingest.api.answers.segments import (
    SegmentChanged,
    SegmentDeleted,
    SegmentList,
    SegmentMade,
    SegmentShown,
)
from mailwarren.ingest.api.endpoint import CHANGING, DELETING, MAKING, PAGE, READING, Endpoint
from mailwarren.ingest.domain.segments import SegmentBody


def _of(word: str, article: str, note: str) -> tuple[Endpoint, ...]:
    path = f"/v1/{word}s"
    return (
        Endpoint(
            f"create_{word}",
            path=path,
            summary=f"Make {article} {word}{note}",
            handler=partial(segments.create, word=word),
            request=SegmentBody,
            answer=SegmentMade,
            **MAKING,
        ),
        Endpoint(
            f"list_{word}s",
            path=path,
            summary=f"List {word}s, newest first{note}",
            handler=segments.read_list,
            answer=SegmentList,
            query=PAGE,
            **READING,
        ),
        Endpoint(
            f"read_{word}",
            path=f"{path}/{{id}}",
            summary=f"Read {article} {word}{note}",
            handler=partial(segments.read, word=word),
            answer=SegmentShown,
            **READING,
        ),
        Endpoint(
            f"delete_{word}",
            path=f"{path}/{{id}}",
            summary=f"Delete {article} {word}{note}",
            handler=partial(segments.delete, word=word),
            answer=SegmentDeleted,
            description="Its contacts stay.",
            **DELETING,
        ),
    )


ENDPOINTS = (
    *_of(segments.SEGMENT, "a", ""),
    Endpoint(
        "rename_segment",
        path="/v1/segments/{id}",
        summary="Rename a segment",
        handler=segments.rename,
        request=SegmentBody,
        answer=SegmentChanged,
        **CHANGING,
    ),
    *_of(segments.AUDIENCE, "an", " (older path)"),
)
