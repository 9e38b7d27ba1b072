"""HTML with links that lead over ingest, and a pixel at its end: pure.

Only the values of links are replaced; every other character of the text stays as it was given. Python's own HTML
parser finds the tags, so that what stands in a comment, a script or a style sheet is no link. It is fed and never
closed: what a text leaves open at its end is left alone, and no text takes it more than linear time.
"""

import re
from functools import lru_cache
from html import unescape
from html.entities import html5
from html.parser import HTMLParser
from itertools import accumulate
from typing import NamedTuple
from urllib.parse import urlsplit

from mailwarren.contracts.parcel import Delivery
from mailwarren.contracts.tracking import LONGEST_LINK, Tracking

LONGEST = 512 * 1024
"""Characters of a text that is looked through, some 40 ms of a sender's time. A longer one goes as it is; Gmail shows
the first 102 kB of a mail."""
MARK = "data-no-track"
"""An attribute of links that are to stay as they are."""
TAGS = frozenset({"a", "area"})
PIXEL = '<img src="{}" alt="" width="1" height="1" style="display:block;width:1px;height:1px;border:0">'

# The attributes of a tag that the parser has found, as HTML has them (§13.2.5.32 to 37): name, and value in double
# quotes, in single ones, or bare.
_ATTRIBUTE = re.compile(
    r"""[ \t\n\r\f/]*(?P<name>[^ \t\n\r\f/>][^ \t\n\r\f/>=]*)"""
    r"""(?:[ \t\n\r\f]*=[ \t\n\r\f]*(?:"(?P<double>[^"]*)"|'(?P<single>[^']*)'|(?P<bare>[^ \t\n\r\f>]*)))?"""
)
_REFERENCE = re.compile(r"&(?:#[0-9]+;?|#[xX][0-9a-fA-F]+;?|(?P<name>[A-Za-z][A-Za-z0-9]*;?)(?P<more>=?))")
_SPACES = " \t\n\r\f"
# What no address has as it is; a browser would read a backslash as a slash.
_UNFIT = re.compile(r"[\x00-\x20\x7f\\<>\"]")


class Place(NamedTuple):
    """The value of a link: from which character to which, and where it leads."""

    start: int
    end: int
    url: str


class Layout(NamedTuple):
    """The links of a text in their order, and where its pixel goes."""

    links: tuple[Place, ...]
    end: int


def track(html: str, tracking: Tracking, delivery: Delivery, leave: str = "", *, shared: bool = False) -> str:
    """The text as a delivery's mail has it.

    Args:
        html: the text.
        tracking: what is tracked.
        delivery: whose mail it is.
        leave: the reader's link to unsubscribe, which is not tracked.
        shared: other mails have the same text.
    """
    if len(html) > LONGEST:
        return html
    layout = _kept_layout(html) if shared else lay_out(html)
    pieces: list[str] = []
    at = 0
    if tracking.clicks:
        for start, end, url in layout.links:
            if not (leave and url.startswith(leave)):
                pieces += html[at:start], tracking.link(delivery.email_id, delivery.id, url)
                at = end
    if tracking.opens:
        pieces += html[at : layout.end], PIXEL.format(tracking.pixel(delivery.email_id, delivery.id))
        at = layout.end
    return "".join((*pieces, html[at:]))


def lay_out(html: str) -> Layout:
    """Look through a text."""
    parser = _Parser(html)
    parser.feed(html)
    return Layout(tuple(parser.links), len(html) if parser.end is None else parser.end)


@lru_cache(maxsize=8)
def _kept_layout(html: str) -> Layout:
    return lay_out(html)


class _Parser(HTMLParser):
    def __init__(self, html: str) -> None:
        super().__init__(convert_charrefs=False)
        self.links: list[Place] = []
        self.end: int | None = None
        # The parser tells lines and columns: where each line begins.
        self._lines = [0, *accumulate(len(line) + 1 for line in html.split("\n"))]

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Note a link."""
        if tag in TAGS and attrs:
            text = self.get_starttag_text() or ""
            if (found := _link(text, len(tag) + 1)) is not None:
                begin = self._at()
                self.links.append(Place(begin + found.start, begin + found.end, found.url))
                self.end = None

    def handle_endtag(self, tag: str) -> None:
        """Note the end of the body, or of all if it has none."""
        if tag == "body" or (tag == "html" and self.end is None):
            self.end = self._at()

    def parse_marked_section(self, i: int, report: int = 1) -> int:  # noqa: ARG002 - as in the class above
        """What begins with ``<![`` is a comment up to the next ``>`` (HTML §13.2.5.42): the parser would give up."""
        end = self.rawdata.find(">", i + 3)
        return end + 1 if end >= 0 else -1

    def _at(self) -> int:
        line, column = self.getpos()
        return self._lines[line - 1] + column


def _link(tag: str, begin: int) -> Place | None:
    """The link of a tag; None when it has none that is tracked. ``begin`` is where its attributes begin."""
    found: Place | None = None
    known = False
    for attribute in _ATTRIBUTE.finditer(tag, begin):
        name = attribute["name"].lower()
        if name == MARK:
            return None
        if name == "href" and not known:
            # Of two with one name the first holds.
            known = True
            found = _place(attribute)
    return found


def _place(attribute: "re.Match[str]") -> Place | None:
    kind = attribute.lastgroup
    if kind is None or kind == "name":
        return None
    url = read_value(attribute[kind]).strip(_SPACES)
    return Place(attribute.start(kind), attribute.end(kind), url) if is_tracked(url) else None


def read_value(raw: str) -> str:
    """The value of an attribute, its character references read as they are in attributes (HTML §13.2.5.73)."""
    return _REFERENCE.sub(_referred, raw) if "&" in raw else raw


def _referred(match: "re.Match[str]") -> str:
    whole = match.group()
    name = match["name"]
    if name is None:
        return unescape(whole)
    if name in html5 and (name.endswith(";") or not match["more"]):
        return html5[name] + match["more"]
    # ``?a=1&copy=2`` is no copyright sign, and what is no reference stands for itself.
    return whole


def is_tracked(url: str) -> bool:
    """Whether a link is one to the web that a redirection can lead to."""
    if url[:8].lower() != "https://" and url[:7].lower() != "http://":
        return False
    if _UNFIT.search(url) or len(url.encode("utf-8", "replace")) > LONGEST_LINK:
        return False
    try:
        return bool(urlsplit(url).hostname)
    except ValueError:
        return False
