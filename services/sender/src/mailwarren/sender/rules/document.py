"""From the octets of a TOML file to values of known keys; whatever is wrong is a :class:`RulesError`."""

import tomllib
from collections.abc import Mapping, Sequence
from enum import EnumType
from typing import Any, get_args

import msgspec

MOST_OCTETS = 2**20
"""Of a file: as much as a ConfigMap holds."""

LONGEST_REASON = 2000


class RulesError(ValueError):
    """A file that cannot be obeyed. The text is one line."""

    def __init__(self, reason: str) -> None:
        super().__init__(" ".join(reason.split())[:LONGEST_REASON])


def read_document(data: bytes, known: Sequence[str]) -> dict[str, Any]:
    """Read TOML whose top-level keys are among ``known``.

    Raises:
        RulesError: it is not such a file.
    """
    if len(data) > MOST_OCTETS:
        raise RulesError(f"more than {MOST_OCTETS} octets")
    try:
        document = tomllib.loads(data.decode("utf-8"))
    except UnicodeDecodeError as error:
        raise RulesError(f"not UTF-8 at octet {error.start}") from error
    except RecursionError as error:
        raise RulesError("nested too deeply") from error
    except ValueError as error:  # TOMLDecodeError, and numbers longer than Python reads
        raise RulesError(f"not TOML: {error}") from error
    unknown = [key for key in document if key not in known]
    if unknown:
        raise RulesError("; ".join(_unknown("", key, known) for key in unknown))
    return document


def read_table(table: object, types: Mapping[str, Any], where: str, problems: list[str]) -> dict[str, Any]:
    """Convert the values of ``table``, strictly; what is wrong is added to ``problems``, under ``where``."""
    if not isinstance(table, dict):
        problems.append(f"{where} is not a table")
        return {}
    values = {}
    for key, value in table.items():
        if key not in types:
            problems.append(_unknown(where, key, types))
            continue
        try:
            values[key] = msgspec.convert(value, types[key])
        except (msgspec.ValidationError, OverflowError) as error:
            problems.append(f"{where} {key}: {_options(types[key]) or error}")
    return values


def _unknown(where: str, key: str, known: Sequence[str] | Mapping[str, Any]) -> str:
    return f"{where} {key!r} is no key that this version obeys: {', '.join(known)}".lstrip()


def _options(kind: Any) -> str:
    """What a value of ``kind`` may be, when that is one of some words."""
    words = list(kind) if isinstance(kind, EnumType) else get_args(kind)
    return f"expected one of {', '.join(words)}" if words and all(isinstance(word, str) for word in words) else ""
