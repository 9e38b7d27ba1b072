"""Cursor pages as the SDKs ask for them: ``limit``, ``after`` (older than) and ``before`` (newer than) an id.

Lists are newest first, ordered by (created_at, id), so a page stays where it is while new rows arrive.
"""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import TypeVar
from uuid import UUID

from mailwarren.ingest.domain.refusal import invalid_parameter

T = TypeVar("T")

DEFAULT_LIMIT = 20
MAX_LIMIT = 100
_KNOWN = ("limit", "after", "before")


@dataclass(frozen=True, slots=True)
class Page:
    """What was asked for; at most one of ``after`` and ``before``. A ``limit`` of None: everything there is."""

    limit: int | None = DEFAULT_LIMIT
    after: UUID | None = None
    before: UUID | None = None

    @property
    def fetch(self) -> int | None:
        """Rows to read, for SQL's LIMIT: one more than shown tells whether there are more."""
        return None if self.limit is None else self.limit + 1

    def cut(self, rows: Sequence[T]) -> tuple[list[T], bool]:
        """The page of the rows read, newest first, and whether there are more in its direction.

        ``rows`` are in reading order: newest first, but oldest first for ``before``, which reads upwards.
        """
        shown = list(rows[: self.limit])
        return (shown[::-1] if self.before else shown), len(rows) > len(shown)


def parse_page(query: Mapping[str, str], default: int | None = DEFAULT_LIMIT, others: Collection[str] = ()) -> Page:
    """The page that a query string asks for.

    Args:
        query: the parameters.
        default: the limit of a query without one; None for lists that the public API answers whole then, because they
            are older than its pages and so are SDKs that cannot ask for a page.
        others: parameters that the list has beside.

    Raises:
        Refusal: 422 naming the parameter.
    """
    known = (*_KNOWN, *others)
    if unknown := set(query).difference(known):
        raise invalid_parameter(
            f"Unknown query parameters: {', '.join(sorted(unknown))}; there are {', '.join(known)}."
        )
    if "after" in query and "before" in query:
        raise invalid_parameter("`after` and `before` cannot be used together.")
    return Page(
        limit=parse_limit(query["limit"]) if "limit" in query else default,
        after=_cursor(query, "after"),
        before=_cursor(query, "before"),
    )


def parse_id(text: str, name: str = "id") -> UUID:
    """A UUID out of a path or query.

    Raises:
        Refusal: 422.
    """
    try:
        return UUID(text)
    except ValueError as error:
        # A path like /emails/receiving, of an endpoint that this version does not have, ends here too.
        other = ", nor is it an endpoint here" if name == "id" else ""
        raise invalid_parameter(f"The `{name}` parameter must be a UUID; `{text[:80]}` is none{other}.") from error


def parse_limit(text: str) -> int:
    """How many elements a page has.

    Raises:
        Refusal: 422.
    """
    if not (text.isascii() and text.isdigit() and len(text) <= 3 and 1 <= int(text) <= MAX_LIMIT):  # noqa: PLR2004
        raise invalid_parameter(f"The `limit` parameter is a number from 1 to {MAX_LIMIT}.")
    return int(text)


def _cursor(query: Mapping[str, str], name: str) -> UUID | None:
    return parse_id(query[name], name) if name in query else None
