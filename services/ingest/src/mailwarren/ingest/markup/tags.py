"""Template tags kept out of the compilers' way: each is a word of letters for as long as they work.

MJML is parsed as XML, to which ``{% if a < b %}`` is an error, and HTML that is inlined is parsed and written anew,
which moves text that stands between table rows out of the table and escapes ``&`` and ``<`` in it. A comment stays
where it is, so statements in text are comments meanwhile; in attributes, styles and titles they are words like all
others.
"""

import hashlib
import re
from dataclasses import dataclass

_TAG = re.compile(
    r"\{%-?\s*raw\s*-?%\}.*?\{%-?\s*endraw\s*-?%\}|\{\{\{.*?\}\}\}|\{\{.*?\}\}|\{%.*?%\}|\{#.*?#\}", re.DOTALL
)
# Where a comment would be text: in attributes, in another comment, and in elements whose content is text to a parser.
_OPAQUE = re.compile(
    r"<!--.*?(?:-->|\Z)"
    r"|<(style|title|textarea|script|mj-style|mj-title|mj-preview)\b.*?(?:</\1\s*>|\Z)"
    r"|<[A-Za-z/](?:[^<>\"']|\"[^\"]*\"|'[^']*')*(?:>|\Z)",
    re.DOTALL | re.IGNORECASE,
)
_QUOTED = re.compile(r"\"[^\"]*\"|'[^']*'")


class Misplaced(ValueError):
    """A statement stands where the compiler drops or moves it: an ``if`` would be left without its ``endif``."""

    def __init__(self, tag: str, line: int) -> None:
        super().__init__(tag)
        self.tag = tag
        self.line = line


@dataclass(frozen=True, slots=True)
class Kept:
    """A source with words in place of its tags. ``tags`` are the tags and their lines by their words, in order."""

    source: str
    tags: dict[str, tuple[str, int]]
    word: re.Pattern[str]

    def among_attributes(self) -> tuple[str, int] | None:
        """The first statement between the attributes of an element: parsing loses their order."""
        for element in _OPAQUE.finditer(self.source):
            if element[0][1] != "!":
                bare = _QUOTED.sub("", element[0]).partition(">")[0]
                for word in self.word.findall(bare):
                    if _is_statement(self.tags[word][0]):
                        return self.tags[word]
        return None

    def restored(self, compiled: str) -> str:
        """What was made of the source, with its tags.

        Raises:
            Misplaced: a statement is gone, stands twice or elsewhere.
        """
        mine = [word for word, (tag, _) in self.tags.items() if _is_statement(tag)]
        there = [word for word in self.word.findall(compiled) if _is_statement(self.tags[word][0])]
        for index, word in enumerate(mine):
            if there[index : index + 1] != [word]:
                raise Misplaced(*self.tags[word])
        if len(there) > len(mine):
            raise Misplaced(*self.tags[there[len(mine)]])
        # An attribute without a value is written with an empty one: `<tr {{ more }}>`.
        whole = re.compile(f'<!--({self.word.pattern})-->|({self.word.pattern})(?:="")?')
        return whole.sub(lambda match: self.tags[match[1] or match[2]][0], compiled)


def keep(source: str) -> Kept:
    """``source`` with its template tags kept out of the way."""
    mark = _mark(source)
    tags: dict[str, tuple[str, int]] = {}
    pieces: list[str] = []
    at, line = 0, 1
    for match in _TAG.finditer(source):
        before = source[at : match.start()]
        line += before.count("\n")
        word = f"{mark}{len(tags)}z"
        tags[word] = (match[0], line)
        pieces += [before, word]
        line += match[0].count("\n")
        at = match.end()
    worded = "".join([*pieces, source[at:]])
    words = re.compile(rf"{mark}\d+z")
    return Kept(_commented(worded, words, tags) if tags else source, tags, words)


def _commented(worded: str, word: re.Pattern[str], tags: dict[str, tuple[str, int]]) -> str:
    """The statements in text as comments."""

    def comment(match: re.Match[str]) -> str:
        return f"<!--{match[0]}-->" if _is_statement(tags[match[0]][0]) else match[0]

    pieces: list[str] = []
    at = 0
    for opaque in _OPAQUE.finditer(worded):
        pieces += [word.sub(comment, worded[at : opaque.start()]), opaque[0]]
        at = opaque.end()
    return "".join([*pieces, word.sub(comment, worded[at:])])


def _is_statement(tag: str) -> bool:
    return tag.startswith(("{%", "{#"))


def _mark(source: str) -> str:
    # Letters that stand nowhere in the source, the same at each compilation of it.
    salt = 0
    while (mark := f"mw{hashlib.sha256(f'{salt}{source}'.encode()).hexdigest()[:10]}q") in source:
        salt += 1
    return mark
