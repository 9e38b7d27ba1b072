"""Who fetches a pixel or a link, by what the request says; and how many hits are recorded."""

from uuid import UUID

import pytest

from mailwarren.contracts.tracking import COUNTED, Flag, HitKind
from mailwarren.ingest.domain.bots import LONGEST_AGENT, agent_text, flag_of
from mailwarren.ingest.domain.hit_bounds import HitBounds

CHROME = "Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/130.0.0.0 Safari/537.36"
SAFARI = "Mozilla/5.0 (iPhone; CPU iPhone OS 18_0 like Mac OS X) AppleWebKit/605.1.15 (KHTML, like Gecko) Mobile/15E148"
GMAIL = "Mozilla/5.0 (Windows NT 5.1; rv:11.0) Gecko Firefox/11.0 (via ggpht.com GoogleImageProxy)"
GMAIL_AHEAD = (
    "Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/42.0.2311.135 "
    "Safari/537.36 Edge/12.246 Mozilla/5.0"
)
OPENED, CLICKED = HitKind.OPENED, HitKind.CLICKED
ONE, OTHER = UUID(int=1), UUID(int=2)


@pytest.mark.parametrize(
    ("kind", "agent", "more", "flag"),
    [
        (OPENED, CHROME, {}, None),
        (CLICKED, SAFARI, {}, None),
        (OPENED, GMAIL, {}, Flag.PROXY),
        (OPENED, "YahooMailProxy; https://help.yahoo.com/kb/yahoo-mail-proxy-SLN28749.html", {}, Flag.PROXY),
        (OPENED, GMAIL_AHEAD, {}, Flag.PREFETCH),
        (OPENED, "Mozilla/5.0", {}, Flag.PREFETCH),
        (CLICKED, "Mozilla/5.0", {}, Flag.ODD),
        (CLICKED, CHROME, {"sec-purpose": "prefetch;prerender"}, Flag.PREFETCH),
        (CLICKED, CHROME, {"purpose": "prefetch"}, Flag.PREFETCH),
        (CLICKED, CHROME, {"x-purpose": "preview"}, Flag.PREFETCH),
        (CLICKED, "Mozilla/5.0 (compatible; bingbot/2.0)", {}, Flag.BOT),
        (CLICKED, "python-requests/2.32", {}, Flag.BOT),
        (CLICKED, "Barracuda Sentinel (EE)", {}, Flag.BOT),
        (CLICKED, "Microsoft Office Existence Discovery", {}, Flag.BOT),
        (CLICKED, "", {}, Flag.ODD),
        # A telephone.
        (CLICKED, "Mozilla/5.0 (Linux; Android 13; CUBOT P60) AppleWebKit/537.36 Mobile Safari/537.36", {}, None),
    ],
)
def test_a_request_is_flagged_by_what_it_says(kind, agent, more, flag):
    assert flag_of(kind, {"user-agent": agent, "accept": "*/*", **more}) is flag


def test_what_takes_no_answer_is_no_browser():
    assert flag_of(CLICKED, {"user-agent": CHROME}) is Flag.ODD
    assert flag_of(OPENED, {"user-agent": GMAIL}) is Flag.PROXY
    assert flag_of(OPENED, {}) is Flag.ODD


def test_what_a_provider_fetches_for_its_reader_counts_and_nothing_else_that_is_flagged():
    assert frozenset({None, Flag.PROXY}) == COUNTED


def test_a_user_agent_is_kept_printable_and_short():
    assert agent_text({"user-agent": f" a\x00b\tc{'d' * 1000}"}) == f"a b c{'d' * 1000}"[: LONGEST_AGENT - 1]
    assert agent_text({}) == ""


def test_a_deliverys_hits_are_recorded_up_to_a_bound_in_a_minute():
    bounds = HitBounds(each=2, everything=100)
    assert [bounds.takes(ONE, 0.0 + number) for number in range(3)] == [True, True, False]
    assert bounds.takes(OTHER, 3.0)
    assert bounds.takes(ONE, 60.0)


def test_all_hits_together_are_bounded_too():
    bounds = HitBounds(each=10, everything=3)
    assert [bounds.takes(UUID(int=number), 1.0) for number in range(5)] == [True, True, True, False, False]
    assert bounds.takes(ONE, 61.0)
