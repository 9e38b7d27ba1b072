"""The two compilers, and their errors in words with a line."""

import re
from html.parser import HTMLParser
from typing import Literal

import css_inline
import mjml

from mailwarren.ingest.markup.problem import MarkupProblem
from mailwarren.ingest.markup.tags import Misplaced, keep

Markup = Literal["html", "mjml"]

MAX_DEPTH = 200
"""Components of MJML in each other. The compiler recurses: at some thousands it would run out of stack."""
_EARLY_END = "unexpected end of stream"
_POSITION = re.compile(r" at position (\d+):\d+")
_UNKNOWN = re.compile(r"<(mj-[a-z-]+)")
_VOID = frozenset({
    "area", "base", "br", "col", "embed", "hr", "img", "input", "link", "meta", "param", "source", "track", "wbr",
})  # fmt: skip


def build(source: str, markup: Markup, *, inline_css: bool) -> str:
    """The HTML of a source.

    Args:
        source: HTML or MJML, with template tags.
        markup: which of them.
        inline_css: write the rules of ``<style>`` elements into the elements that they are for; those that can only
            stand in a stylesheet (``@media``, ``:hover``) stay in one.

    Raises:
        MarkupProblem: what is wrong with it.
    """
    kept = keep(source)
    built = kept.source
    if markup == "mjml":
        built = _html_of(built)
    if inline_css:
        if found := kept.among_attributes():
            raise MarkupProblem(
                f"line {found[1]}: {found[0][:80]} stands between attributes, whose order is lost when CSS is inlined: "
                "put it into an attribute's value, or around whole elements"
            )
        built = _inlined(built)
    try:
        return kept.restored(built)
    except Misplaced as error:
        hint = " Between MJML components it goes into <mj-raw>." if markup == "mjml" else ""
        raise MarkupProblem(
            f"line {error.line}: {error.tag[:80]} cannot stand here: compiling would drop or move it.{hint}"
        ) from error


def _html_of(source: str) -> str:
    _open_elements(source)
    try:
        # Without a loader no <mj-include> reads anything, from this machine or another.
        html: str = mjml.mjml2html(source)
    except ValueError as error:
        raise MarkupProblem(_explained(source, str(error))) from error
    # A component that MJML does not know is passed on as if it were HTML, which no mail program shows.
    if found := _UNKNOWN.search(html):
        line = _line(source, source.find(found[0]))
        raise MarkupProblem(f"line {line}: there is no <{found[1]}> in MJML, or not in this place")
    return html


def _explained(source: str, message: str) -> str:
    if found := _POSITION.search(message):
        at = len(source.encode()[: int(found[1])].decode(errors="ignore"))
        if "include" in message:
            return f"line {_line(source, at)}: <mj-include> is not available: a template is one text"
        return f"line {_line(source, at)}: {message[: found.start()].removesuffix(' in root template')}"
    words = message.removesuffix(" in root template")
    if words != _EARLY_END:
        return f"line {_first_bad_line(source)}: {words}"
    if not (left := _open_elements(source)):
        return f"line {_line(source, len(source))}: {words}"
    name, line = left[-1]
    return f"line {line}: <{name}> is not closed"


def _first_bad_line(source: str) -> int:
    """The line at which the parser stops: text that ends before it is only incomplete."""
    lines = source.splitlines(keepends=True)
    low, high = 1, len(lines)
    while low < high:
        middle = (low + high) // 2
        if _is_incomplete("".join(lines[:middle])):
            low = middle + 1
        else:
            high = middle
    return low


def _is_incomplete(source: str) -> bool:
    try:
        mjml.mjml2html(source)
    except ValueError as error:
        return str(error).startswith(_EARLY_END)
    return False


def _inlined(html: str) -> str:
    inliner = css_inline.CSSInliner(
        load_remote_stylesheets=False, keep_link_tags=True, keep_at_rules=True, remove_inlined_selectors=True
    )
    try:
        return inliner.inline(html)
    except (css_inline.InlineError, ValueError) as error:
        raise MarkupProblem(f"the CSS cannot be inlined: {error}") from error


def _line(source: str, at: int) -> int:
    return source.count("\n", 0, max(at, 0)) + 1


def _open_elements(source: str) -> list[tuple[str, int]]:
    """The elements that are left open at the end, with their lines.

    Raises:
        MarkupProblem: more than :data:`MAX_DEPTH` are in each other somewhere.
    """
    scan = _Nesting()
    scan.feed(source)
    scan.close()
    return scan.open


class _Nesting(HTMLParser):
    def __init__(self) -> None:
        super().__init__(convert_charrefs=False)
        self.open: list[tuple[str, int]] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:  # noqa: ARG002
        if tag not in _VOID:
            self.open.append((tag, self.getpos()[0]))
            if len(self.open) > MAX_DEPTH:
                raise MarkupProblem(f"line {self.getpos()[0]}: elements are nested deeper than {MAX_DEPTH}")

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Opens nothing."""

    def handle_endtag(self, tag: str) -> None:
        # Inside of text HTML may leave elements open: what is in the one that is closed is closed with it.
        names = [name for name, _ in self.open]
        if tag in names:
            del self.open[len(names) - 1 - names[::-1].index(tag) :]
