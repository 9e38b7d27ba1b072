"""The page of a link to unsubscribe: its languages, its forms, and that it needs nothing but itself."""

import html.parser
import re
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mailwarren.ingest.adapters.unsubscribes import Preferences, TopicChoice
from mailwarren.ingest.pages.forms import read_form, value_of, values_of
from mailwarren.ingest.pages.page import notice_page, policy, preferences_page
from mailwarren.ingest.pages.words import WORDS, language_of

NEWS = TopicChoice(UUID(int=1), "News <b>", 'What is "new" & <script>', subscribed=True)
OFFERS = TopicChoice(UUID(int=2), "Offers", "", subscribed=False)
URLENCODED = "application/x-www-form-urlencoded"


class Page(html.parser.HTMLParser):
    """The tags of a page, with their attributes, and its text."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.text = ""
        self._in_style = False
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        self._in_style = tag == "style"

    def handle_data(self, data: str) -> None:
        if not self._in_style:
            self.text += data

    def of(self, name: str) -> list[dict[str, str | None]]:
        return [attributes for tag, attributes in self.tags if tag == name]


@pytest.mark.parametrize(
    ("accepted", "asked", "language"),
    [
        ("", None, "en"),
        ("vi", None, "vi"),
        ("vi-VN,vi;q=0.9,en;q=0.8", None, "vi"),
        ("en-US,en;q=0.9,vi;q=0.8", None, "en"),
        ("de,vi;q=0.5", None, "vi"),
        ("en;q=0.1, vi;q=0.2", None, "vi"),
        ("vi;q=0", None, "en"),
        ("vi;q=x", None, "en"),
        ("fr", None, "en"),
        ("en", "vi", "vi"),
        ("vi", "xx", "vi"),
    ],
)
def test_the_language_is_that_of_the_reader(accepted: str, asked: str | None, language: str) -> None:
    assert language_of(accepted, asked) == language


@given(st.text(max_size=50))
def test_any_header_gives_a_language(accepted: str) -> None:
    assert language_of(accepted) in WORDS


def test_every_language_has_every_word() -> None:
    first, *others = WORDS.values()
    assert all(set(words) == set(first) for words in others)
    assert all(text.strip() for words in WORDS.values() for text in words.values())


@pytest.mark.parametrize("language", sorted(WORDS))
def test_a_page_shows_the_topics_with_what_holds(language: str) -> None:
    page = Page(preferences_page(language, "ada@x.test", Preferences(left_all=False, topics=[NEWS, OFFERS])))
    assert page.of("html") == [{"lang": language}]
    boxes = [one for one in page.of("input") if one["type"] == "checkbox"]
    assert [(one["value"], "checked" in one) for one in boxes] == [(str(NEWS.id), True), (str(OFFERS.id), False)]
    assert {button["value"] for button in page.of("button")} == {"save", "leave_all"}
    assert all(form == {"method": "post"} for form in page.of("form"))
    assert "News <b>" in page.text
    assert 'What is "new" & <script>' in page.text
    assert not page.of("script")


def test_a_page_needs_nothing_from_elsewhere() -> None:
    text = preferences_page("en", "ada@x.test", Preferences(left_all=False, topics=[NEWS]))
    assert not re.search(r"(?:src|srcset|action)=|https?:|@import|url\(", text)
    assert {link["href"] for link in Page(text).of("a")} == {f"?lang={code}" for code in WORDS if code != "en"}
    assert "'unsafe" not in policy()
    assert policy().startswith("default-src 'none'; style-src 'sha256-")
    assert "prefers-color-scheme: dark" in text


def test_who_left_everything_may_come_back() -> None:
    page = Page(preferences_page("vi", "ada@x.test", Preferences(left_all=True, topics=[NEWS]), "done_left"))
    assert [button["value"] for button in page.of("button")] == ["come_back"]
    assert WORDS["vi"]["done_left"] in page.text


@pytest.mark.parametrize("what", ["bad", "away", "odd"])
def test_a_notice_has_no_form(what: str) -> None:
    page = Page(notice_page("en", what))
    assert not page.of("form")
    assert WORDS["en"][what] in page.text


def test_a_form_is_read_as_browsers_and_mail_providers_send_it() -> None:
    assert read_form(URLENCODED, b"List-Unsubscribe=One-Click") == [("List-Unsubscribe", "One-Click")]
    multipart = (
        b'--x\r\nContent-Disposition: form-data; name="List-Unsubscribe"\r\n\r\nOne-Click\r\n'
        b'--x\r\nContent-Disposition: form-data; name="lang"\r\n\r\nvi\r\n--x--\r\n'
    )
    fields = read_form("multipart/form-data; boundary=x", multipart)
    assert fields == [("List-Unsubscribe", "One-Click"), ("lang", "vi")]
    several = read_form(f"{URLENCODED}; charset=utf-8", b"topic=1&topic=2&action=save")
    assert (values_of(several, "topic"), value_of(several, "action"), value_of(several, "x")) == (
        ["1", "2"], "save", None,
    )  # fmt: skip


@pytest.mark.parametrize(
    ("kind", "body"),
    [
        ("application/json", b'{"List-Unsubscribe":"One-Click"}'),
        (URLENCODED, b"\xff\xfe"),
        (URLENCODED, b"&".join([b"a=1"] * 1000)),
        ("multipart/form-data", b"--x\r\n\r\n"),
        ("multipart/form-data; boundary=y", b"no parts"),
        ("", b""),
    ],
)
def test_what_is_no_form_has_no_fields(kind: str, body: bytes) -> None:
    assert read_form(kind, body) == []


@given(st.binary(max_size=300), st.sampled_from(["multipart/form-data; boundary=x", URLENCODED, ""]))
def test_no_body_breaks_the_reading(body: bytes, kind: str) -> None:
    assert all(isinstance(value, str) for _, value in read_form(kind, body))
