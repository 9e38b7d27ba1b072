"""Who fetches a pixel or a link: readers, the providers that fetch for them, and programs. Pure.

What a request says of itself is all there is to go by; how soon after its delivery it came is judged by the tracker,
which knows that (:mod:`mailwarren.tracker.domain.hits`).
"""

from collections.abc import Mapping

from mailwarren.contracts.tracking import Flag, HitKind

LONGEST_AGENT = 300
"""Characters of a user agent that are kept."""

PROXIES = ("googleimageproxy", "yahoomailproxy")
"""Words of providers that fetch pictures when their reader opens a mail."""
PREFETCHERS = frozenset({"mozilla/5.0"})
"""Whole user agents of what fetches all pictures of all mail: Apple's Mail Privacy Protection says no more."""
AHEAD = "edge/12.246 mozilla/5.0"
"""The end of the user agent with which Gmail fetches pictures in advance."""
ADVANCE = ("purpose", "sec-purpose", "x-purpose", "x-moz")
"""Headers by which browsers and providers say that nobody looks yet."""
BOTS = (
    "bot/", "bot;", "bot)", "(+http", "; +http", "crawl", "spider", "scan", "preview", "headless",
    "phantomjs", "selenium", "python-", "curl/", "wget/",
    "libwww", "java/", "okhttp", "go-http-client", "apache-httpclient", "axios/", "node-fetch", "httpx/", "aiohttp/",
    "ruby", "perl", "facebookexternalhit", "whatsapp", "skypeuripreview", "barracuda", "mimecast", "proofpoint",
    "trendmicro", "symantec", "fireeye", "forcepoint", "sophos", "bitdefender", "zscaler", "existence discovery",
)  # fmt: skip
"""Words of programs that follow links, in lower case."""


def flag_of(kind: HitKind, headers: Mapping[str, str]) -> Flag | None:
    """Why a request is perhaps not of the mail's reader; None when nothing says so.

    Args:
        kind: what was fetched.
        headers: of the request, by names in lower case.
    """
    agent = headers.get("user-agent", "").strip().lower()
    if any(word in agent for word in PROXIES):
        return Flag.PROXY
    if any(_says_ahead(headers.get(name, "")) for name in ADVANCE):
        return Flag.PREFETCH
    if kind is HitKind.OPENED and (agent in PREFETCHERS or agent.endswith(AHEAD)):
        return Flag.PREFETCH
    if any(word in agent for word in BOTS):
        return Flag.BOT
    if not agent or agent in PREFETCHERS or "accept" not in headers:
        return Flag.ODD
    return None


def agent_text(headers: Mapping[str, str]) -> str:
    """The user agent as it is kept: printable, and not too long."""
    agent = headers.get("user-agent", "")[:LONGEST_AGENT]
    return "".join(character if character.isprintable() else " " for character in agent).strip()


def _says_ahead(value: str) -> bool:
    said = value.lower()
    return "prefetch" in said or "preview" in said or "prerender" in said
