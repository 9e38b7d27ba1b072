"""Answers against the typed dictionaries of the official SDK, which are the contract of the API.

A test says ``check(resend.Segments.get(ident), Segment)``: a field that the SDK requires and the answer lacks, a value
of another type, and a field that the SDK does not know fail it, however deep they lie. A list without elements fails
as well, because nothing was compared. What is known to differ is said in the test, by its path::

    check(email, Email, ours={"priority", "data.status"}, nulls={"html"})
"""

import typing
from collections.abc import Callable, Collection, Iterator, Mapping
from types import NoneType, UnionType
from typing import Any, Literal, Union

import pytest
from resend.exceptions import ResendError
from typing_extensions import is_typeddict


def check(answer: Any, kind: Any, *, ours: Collection[str] = (), nulls: Collection[str] = ()) -> None:
    """Fail with every difference between an answer and its type.

    Args:
        answer: what the SDK returned.
        kind: the SDK's type of it.
        ours: paths of fields that the SDK's type does not have, the elements of a list under the list's own name:
            ``data.priority``. What is in them is not looked at. One that is not met fails: it is out of date.
        nulls: paths of fields that may be null although the SDK's type does not say so.
    """
    met: set[str] = set()
    found = list(_differences(answer, kind, "", _Known(frozenset(ours), frozenset(nulls), met)))
    found += [f"{path}: said to be ours, but not in the answer" for path in sorted(set(ours) - met)]
    assert not found, "\n".join([f"not as {getattr(kind, '__name__', kind)} has it:", *found])


def refused(call: Callable[..., Any], *arguments: Any, **named: Any) -> tuple[int | str, str]:
    """Status and message of the error that a call of the SDK ends with."""
    with pytest.raises(ResendError) as caught:
        call(*arguments, **named)
    return caught.value.code, caught.value.message


class _Known(typing.NamedTuple):
    ours: frozenset[str]
    nulls: frozenset[str]
    met: set[str]


def _differences(value: Any, kind: Any, path: str, known: _Known) -> Iterator[str]:
    origin, arguments = typing.get_origin(kind), typing.get_args(kind)
    if kind is Any or (value is None and path in known.nulls):
        return
    if is_typeddict(kind):
        yield from _fields(value, kind, path, known)
    elif origin in {Union, UnionType}:
        yield from _either(value, arguments, path, known)
    elif origin is list:
        yield from _elements(value, arguments[0], path, known)
    elif origin is dict:
        yield from _entries(value, arguments, path, known)
    elif origin is Literal:
        if value not in arguments:
            yield f"{path}: {value!r} is none of {arguments}"
    elif not _is(value, kind):
        yield f"{path}: {value!r} is {type(value).__name__}, not {getattr(kind, '__name__', kind)}"


def _fields(value: Any, kind: Any, path: str, known: _Known) -> Iterator[str]:
    if not isinstance(value, Mapping):
        yield f"{path}: {value!r} is no object"
        return
    hints = typing.get_type_hints(kind)
    for name in sorted(kind.__required_keys__ - set(value)):
        yield f"{_below(path, name)}: missing"
    for name, inner in value.items():
        place = _below(path, name)
        if name in hints:
            yield from _differences(inner, hints[name], place, known)
        elif place in known.ours:
            known.met.add(place)
        # The SDK adds these itself to every answer, whatever the answer's type.
        elif place != "http_headers":
            yield f"{place}: unknown to the SDK"


def _either(value: Any, kinds: tuple[Any, ...], path: str, known: _Known) -> Iterator[str]:
    tried = [list(_differences(value, kind, path, known)) for kind in kinds]
    if all(tried):
        yield min(tried, key=len)[0]


def _elements(value: Any, kind: Any, path: str, known: _Known) -> Iterator[str]:
    if not isinstance(value, list):
        yield f"{path}: {value!r} is no list"
        return
    if not value and is_typeddict(kind):
        yield f"{path}: an empty list, of which nothing can be said"
    for element in value:
        yield from _differences(element, kind, path, known)


def _entries(value: Any, kinds: tuple[Any, Any], path: str, known: _Known) -> Iterator[str]:
    if not isinstance(value, Mapping):
        yield f"{path}: {value!r} is no object"
        return
    for name, inner in value.items():
        yield from _differences(name, kinds[0], path, known)
        yield from _differences(inner, kinds[1], _below(path, name), known)


def _is(value: Any, kind: Any) -> bool:
    # As in JSON, and in Python's typing: a whole number is a float too, a boolean is no number.
    if kind is NoneType:
        return value is None
    if isinstance(value, bool):
        return kind is bool
    return isinstance(value, (int, float) if kind is float else kind)


def _below(path: str, name: str) -> str:
    return f"{path}.{name}" if path else name
