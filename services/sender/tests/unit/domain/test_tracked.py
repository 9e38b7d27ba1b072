"""Tracked html: which links lead over ingest, and that nothing else of a text changes."""

import hashlib
import hmac
import time
from base64 import urlsafe_b64decode
from html.parser import HTMLParser
from uuid import UUID

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec.structs import replace

from mailwarren.contracts.parcel import Syntax
from mailwarren.contracts.testing import a_content, a_delivery
from mailwarren.contracts.tracking import LONGEST_LINK, Tracking
from mailwarren.sender.domain.render import build_mail, fill, is_tracked
from mailwarren.sender.domain.tracked import LONGEST, lay_out, read_value, track

HEAD, KEY, BASE = b"a head", b"a key of thirty-two octets, here", "https://links.sender.test"
TRACKING = Tracking(True, True, BASE, HEAD, KEY)
CLICKS = replace(TRACKING, opens=False)
DELIVERY = a_delivery("ada@example.test", UUID(int=7))


def said(address: str, use: str) -> bytes:
    """What a token says, after its MAC was checked with what a parcel holds."""
    token = address.removeprefix(f"{BASE}/t/{use}/")
    assert token != address
    octets = urlsafe_b64decode(token + "=" * (-len(token) % 4))
    body, mac = octets[:-16], octets[-16:]
    assert hmac.digest(KEY, body, hashlib.sha256)[:16] == mac
    start = HEAD + DELIVERY.email_id.bytes + DELIVERY.id.bytes + use.encode()
    assert body.startswith(start)
    return body.removeprefix(start)


class Hrefs(HTMLParser):
    """What a reader's program finds in a text."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.found: list[str] = []
        self.pictures: list[str] = []
        self.feed(html)

    def handle_starttag(self, tag, attrs):
        values = dict(reversed(attrs))  # of two with one name the first holds
        if tag in {"a", "area"} and values.get("href"):
            self.found.append(values["href"])
        if tag == "img":
            self.pictures.append(values["src"])


def urls(html: str) -> list[str]:
    """Where the links of a text lead that are tracked."""
    return [said(address, "c").decode() for address in Hrefs(track(html, CLICKS, DELIVERY)).found if BASE in address]


@pytest.mark.parametrize(
    ("html", "expected"),
    [
        ('<a href="https://x.test/?a=1&amp;b=2">x</a>', ["https://x.test/?a=1&b=2"]),
        ("<A title='a > b' HREF = 'HTTP://x.test/'>x</A>", ["HTTP://x.test/"]),
        ("<a\n href=https://x.test/p class=c>x</a>", ["https://x.test/p"]),
        ('<a href=" https://x.test/ ">x</a>', ["https://x.test/"]),
        ('<map><area href="https://x.test/é"></map>', ["https://x.test/é"]),
        ('<a href="https://one.test" href="https://two.test">x</a>', ["https://one.test"]),
        # As in attributes: no copyright sign, and no reference cut out of a longer name.
        ('<a href="https://x.test/?a=1&copy=2&notit=3&#38;b&lt;">x</a>', []),
        ('<a href="https://x.test/?a=1&copy=2&notit=3&#38;b">x</a>', ["https://x.test/?a=1&copy=2&notit=3&b"]),
        ('<![if !mso]><a href="https://x.test">x</a><![endif]>', ["https://x.test"]),
        ('<!-- <a href="https://x.test"> --><p>', []),
        ('<!--[if mso]><a href="https://x.test">x</a><![endif]-->', []),
        ('<script>"<a href=https://x.test>"</script><style>a[href="https://x.test"]{}</style>', []),
        ('<link href="https://x.test"><img src="https://x.test"><form action="https://x.test">', []),
        (
            '<a href="mailto:a@x.test">m</a><a href="tel:1">t</a><a href="#a">f</a><a href="/p">r</a><a href="">e</a>',
            [],
        ),
        ('<a href="javascript:alert(1)">j</a><a href="cid:logo">c</a><a href>n</a><a name="https://x.test">', []),
        ('<a data-no-track href="https://x.test">x</a><a href="https://y.test" DATA-NO-TRACK="1">y</a>', []),
        ('<a href="https://">x</a><a href="https://x.test/a b">y</a><a href="https://[x">z</a>', []),
        ('<a href="https://x.test/\\y">x</a><a href="https://x.test/&#10;y">y</a>', []),
        (f'<a href="https://x.test/{"p" * LONGEST_LINK}">x</a>', []),
        ('<a href="https://x.test', []),
    ],
)
def test_these_links_lead_over_ingest(html, expected):
    assert urls(html) == expected


def test_nothing_but_the_values_of_links_changes():
    html = (
        '\t<!DOCTYPE html>\r\n<body  Class=x><p>a &amp b &nbsp;<br/>\r<a  href="https://x.test" title="&lt;">x</a >'
        "<a href='mailto:a@x.test'>m</a></p>\n</BODY >\n<!-- end"
    )
    (place,) = lay_out(html).links
    assert html[place.start : place.end] == "https://x.test"
    found = track(html, CLICKS, DELIVERY)
    assert found == html[: place.start] + CLICKS.link(DELIVERY.email_id, DELIVERY.id, place.url) + html[place.end :]


@given(
    st.lists(st.sampled_from(["<a href='https://x.test/", "'>", "<!--", "-->", "</body>", "<p", ">", '"', "é\n", " "]))
)
@settings(deadline=None)
def test_the_text_comes_back_when_the_addresses_are_taken_out(pieces):
    html = "".join(pieces)
    found = track(html, TRACKING, DELIVERY)
    for place in lay_out(html).links:
        found = found.replace(CLICKS.link(DELIVERY.email_id, DELIVERY.id, place.url), html[place.start : place.end], 1)
    before, _, rest = found.partition('<img src="')
    assert before + rest.partition(">")[2] == html


def test_the_pixel_stands_at_the_end_of_the_body_and_once():
    opens = replace(TRACKING, clicks=False)
    found = track('<body><a href="https://x.test">x</a></body></html>', opens, DELIVERY)
    assert found.startswith('<body><a href="https://x.test">x</a><img src="')
    assert found.endswith("></body></html>")
    (pixel,) = Hrefs(found).pictures
    assert said(pixel, "o") == b""
    for html in ("text", "<p>x</html>", '</body><a href="https://x.test">late</a>'):
        assert track(html, opens, DELIVERY).count("<img") == 1
    assert track("<p>x</html>", opens, DELIVERY).endswith("></html>")


def test_the_readers_way_out_is_not_tracked():
    leave = "https://mail.sender.test/u/AQtoken"
    html = f'<a href="{leave}">a</a><a href="{leave}?lang=vi">b</a><a href="https://x.test">c</a>'
    found = Hrefs(track(html, CLICKS, DELIVERY, leave)).found
    assert found[:2] == [leave, f"{leave}?lang=vi"]
    assert said(found[2], "c") == b"https://x.test"


def test_each_delivery_has_its_own_addresses_and_the_same_in_each_attempt():
    html = '<a href="https://x.test">x</a>'
    other = a_delivery("eve@example.test")
    assert track(html, TRACKING, DELIVERY) == track(html, TRACKING, DELIVERY, shared=True)
    assert track(html, TRACKING, DELIVERY) != track(html, TRACKING, other)


@pytest.mark.parametrize(
    "piece", ["<!", "<a ", "<", "<a href='", "<!--", "&", "<![", "</a ", "<a\n", '<a b="', "<script>", "<?"]
)
def test_no_text_takes_long(piece):
    began = time.process_time()
    track(piece * (LONGEST // len(piece)), TRACKING, DELIVERY)
    assert time.process_time() - began < 2


def test_a_text_that_is_too_long_goes_as_it_is():
    html = '<a href="https://x.test">x</a>'.ljust(LONGEST + 1)
    assert track(html, TRACKING, DELIVERY) is html


@pytest.mark.parametrize(
    ("raw", "value"),
    [
        ("a&amp;b", "a&b"),
        ("a&ampb", "a&ampb"),
        ("a&amp=b", "a&amp=b"),
        ("a&amp", "a&"),
        ("&copy;&#x41;&#66;&nope;&", "©AB&nope;&"),
    ],
)
def test_references_are_read_as_in_attributes(raw, value):
    assert read_value(raw) == value


def test_a_mail_is_tracked_where_its_content_says_so():
    content = a_content(html='<a href="https://x.test/{{ n }}">x</a>', tracking=TRACKING)
    assert is_tracked(content)
    assert not is_tracked(a_content(tracking=TRACKING))
    assert not is_tracked(replace(content, tracking=Tracking(True, True)))
    assert fill(replace(content, tracking=Tracking(True, True)), DELIVERY)[1] == content.html
    template = replace(content, syntax=Syntax.TEMPLATE)
    _, html, text = fill(template, replace(DELIVERY, variables={"n": "a&b"}))
    assert html is not None
    assert said(Hrefs(html).found[0], "c") == b"https://x.test/a&b"
    assert text == content.text
    assert BASE.encode() in build_mail(content, DELIVERY, 1.0)
