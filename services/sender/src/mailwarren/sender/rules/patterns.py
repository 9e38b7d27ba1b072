"""Regular expressions that cannot be made to run for long by whoever writes the text.

Python's ``re`` backtracks: it tries every way to fit a pattern at every place of the text. So a pattern is taken only
when the *ways* that it can be fitted at one place are few; text is cut at ``LONGEST_READ`` characters before it is
looked at. Repeats that stand side by side multiply their ways, alternatives add theirs, and a repeat of something that
can itself be fitted in several ways raises them to a power: nested quantifiers never pass.
"""

import re
from re import _constants as op  # type: ignore[attr-defined]
from re import _parser  # type: ignore[attr-defined]
from typing import Any

from mailwarren.sender.domain.classify import LONGEST_READ
from mailwarren.sender.rules.document import RulesError

MOST_WAYS = 2500
"""Of one pattern: two of ``.{0,40}`` have 1681, one of ``.*`` has 1001. The worst that was tried ran for 0.16 s."""

LONGEST_PATTERN = 300

_SINGLE = frozenset({op.LITERAL, op.NOT_LITERAL, op.ANY, op.IN, op.CATEGORY, op.RANGE, op.AT})
_REPEATS = frozenset({op.MAX_REPEAT, op.MIN_REPEAT, op.POSSESSIVE_REPEAT})


def compile_pattern(pattern: str) -> re.Pattern[str]:
    """Compile ``pattern``, case ignored.

    Raises:
        RulesError: it is not a regular expression, it fits the empty text, or it could run for long.
    """
    if len(pattern) > LONGEST_PATTERN:
        raise RulesError(f"a pattern of more than {LONGEST_PATTERN} characters")
    try:
        ways = count_ways(pattern)
        compiled = re.compile(pattern, re.IGNORECASE)
    except (re.error, OverflowError, Warning) as error:
        raise RulesError(f"not a regular expression: {error}") from error
    except RecursionError as error:
        raise RulesError("a pattern nested too deeply") from error
    if ways > MOST_WAYS:
        raise RulesError(
            f"the pattern could run for long: at one place it fits in more than {MOST_WAYS} ways; "
            "give its repeats limits, such as .{0,40}"
        )
    if compiled.search("") is not None:
        raise RulesError("the pattern fits every text")
    return compiled


def count_ways(pattern: str) -> int:
    """In how many ways ``pattern`` can be fitted at one place, at most; above ``MOST_WAYS`` it may be any number.

    Raises:
        RulesError: it has something whose cost has no bound here (a back reference, a look around, …).
        re.error: it is not a regular expression.
    """
    return _of_sequence(_parser.parse(pattern, re.IGNORECASE))


def _of_sequence(items: Any) -> int:
    ways = 1
    for kind, argument in items:
        ways = min(ways * _of_item(kind, argument), MOST_WAYS + 1)
    return ways


def _of_item(kind: Any, argument: Any) -> int:
    if kind in _SINGLE:
        return 1
    if kind is op.SUBPATTERN:
        return _of_sequence(argument[3])
    if kind is op.BRANCH:
        return min(sum(_of_sequence(branch) for branch in argument[1]), MOST_WAYS + 1)
    if kind in _REPEATS:
        return _of_repeat(*argument)
    raise RulesError(f"patterns may not use {str(kind).lower().replace('_', ' ')}")


def _of_repeat(least: int, most: int, body: Any) -> int:
    if most > 1 and body.getwidth()[0] == 0:
        raise RulesError("the pattern repeats what may be empty")
    # More turns than the text has characters fit nothing.
    most, ways = min(int(most), LONGEST_READ), _of_sequence(body)
    if least > most:
        raise RulesError(f"a repeat of more than {LONGEST_READ}")
    if ways == 1:
        return most - least + 1
    total, power = 0, ways ** min(least, MOST_WAYS.bit_length())
    for _ in range(least, most + 1):
        total += power
        power *= ways
        if total > MOST_WAYS:
            break
    return total
