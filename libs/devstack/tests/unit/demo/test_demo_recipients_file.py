"""The committed CSV is what the plan of the generator describes, and every row of it can be read and rendered."""

import re
import unicodedata
from collections import Counter
from datetime import UTC, datetime
from pathlib import Path

import pytest

from mailwarren.contracts.lanes import Lane
from mailwarren.contracts.template import missing_variables, render, required_variables
from mailwarren.devstack.demo import roster
from mailwarren.devstack.demo.generate import write
from mailwarren.devstack.demo.mails import BULK_SUBJECT, content, receipt_mail, renewal_mail, sign_in_mail
from mailwarren.devstack.demo.people import AWKWARD, COUNTRIES
from mailwarren.devstack.demo.recipients import FILE, Recipient, read_recipients
from mailwarren.devstack.errors import DevstackError

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)
ADDRESS = re.compile(r"(?=[^@]{1,64}@)[a-z0-9_-]+(\.[a-z0-9_-]+)*@(?!\[)([^@]+)", re.IGNORECASE)


@pytest.fixture(scope="module")
def recipients() -> list[Recipient]:
    return read_recipients()


def is_wrong(one: Recipient) -> bool:
    """By the eye of the test: no address, a line break in the name, or a hole where bulk needs a value."""
    holes = one.lane is Lane.BULK and "renewal_date" not in one.fields
    return not ADDRESS.fullmatch(one.email) or bool(re.search(r"[\r\n]", one.name)) or holes


def domain(one: Recipient) -> str:
    return one.email.rpartition("@")[2].lower()


def test_rows_lanes_and_domains_are_those_of_the_plan(recipients: list[Recipient]) -> None:
    good = [one for one in recipients if not is_wrong(one)]

    assert len(recipients) == roster.ROWS == 10_000
    assert Counter(one.lane for one in recipients) == roster.LANES
    assert Counter(map(domain, good)) == roster.domain_counts()
    assert len(roster.domain_counts()) == 50
    assert len({one.email.casefold() for one in recipients}) == 10_000


def test_the_wrong_rows_are_those_of_the_plan(recipients: list[Recipient]) -> None:
    wrong = [one for one in recipients if is_wrong(one)]

    assert Counter(one.lane for one in wrong) == Counter(row.lane for row in roster.WRONG)
    assert len(wrong) == 8
    assert sum("\r\n" in one.name for one in wrong) == 1


def test_the_tail_is_heavy_and_every_lane_meets_every_trouble(recipients: list[Recipient]) -> None:
    counts = sorted(roster.domain_counts().values())

    assert counts[-1] > 50 * counts[0]
    assert sum(counts[-5:]) > 0.5 * sum(counts)
    for trouble in roster.TROUBLED:
        assert {one.lane for one in recipients if domain(one) == trouble} == set(Lane), trouble


def test_names_come_in_many_scripts(recipients: list[Recipient]) -> None:
    scripts = Counter(unicodedata.name(one.name[0], "?").split()[0] for one in recipients if one.name)

    wanted = {
        "LATIN", "CYRILLIC", "GREEK", "ARABIC", "HEBREW", "CJK", "HANGUL", "DEVANAGARI", "THAI", "GEORGIAN", "BENGALI",
    }  # fmt: skip
    assert wanted <= {script for script, count in scripts.items() if count > 100}
    assert {one.fields["language"] for one in recipients} == {country.language for country in COUNTRIES}
    names = {(one.fields.get("first_name"), one.fields.get("last_name")) for one in recipients}
    assert set(AWKWARD) <= names


def test_addresses_at_real_providers_say_that_they_are_nobodys(recipients: list[Recipient]) -> None:
    at_providers = [one for one in recipients if domain(one) in roster.PROVIDERS]

    assert len(at_providers) == sum(roster.PROVIDERS.values())
    assert all("-mailwarren-demo@" in one.email for one in at_providers)
    assert all(
        domain(one).endswith(".test")
        for one in recipients
        if domain(one) not in roster.PROVIDERS and "@[" not in one.email and "@" in one.email
    )


def test_what_expires_is_what_the_plan_says(recipients: list[Recipient]) -> None:
    for one in recipients:
        assert one.expires_in == roster.expires_in(roster.Slot(domain(one), one.lane))


def test_every_good_bulk_row_fills_the_template(recipients: list[Recipient]) -> None:
    bulk = [one for one in recipients if one.lane is Lane.BULK]
    body = renewal_mail(bulk, "run", NOW)
    sources = (BULK_SUBJECT, content("newsletter.html"), content("newsletter.txt"))
    needed = frozenset().union(*map(required_variables, sources))

    holes = [row for row in body["recipients"] if missing_variables(needed, row["variables"])]
    assert len(holes) == 1
    nameless = next(row["variables"] for row in body["recipients"] if "first_name" not in row["variables"])
    assert render(BULK_SUBJECT, nameless, html=False).startswith("Hello, your ")
    assert "Hello there," in render(content("newsletter.txt"), nameless, html=False)
    said = [render(content("newsletter.txt"), row["variables"], html=False) for row in body["recipients"][:200]]
    assert len(set(said)) == 200
    assert {"Free plan", "Team plan", "on Pro"} <= {
        word for text in said for word in re.findall("Free plan|Team plan|on Pro", text)
    }


def test_names_are_text_in_every_lane_and_never_markup(recipients: list[Recipient]) -> None:
    bobby = next(one for one in recipients if one.fields.get("last_name") == "Tables")
    braces = next(one for one in recipients if one.fields.get("last_name") == "Braces")
    variables = renewal_mail([bobby], "run", NOW)["recipients"][0]["variables"]

    assert "&lt;b&gt;Bobby" in render(content("newsletter.html"), variables, html=True)
    assert "&lt;b&gt;Bobby&lt;/b&gt; Tables" in receipt_mail(bobby, "run", NOW)["html"]
    assert "{{ 7 * 7 }}" in sign_in_mail(braces, "run", NOW)["text"]
    braced = renewal_mail([braces], "run", NOW)["recipients"][0]["variables"]
    assert "{{ 7 * 7 }}, your" in render(BULK_SUBJECT, braced, html=False)


def test_the_generator_still_writes_a_file_of_that_form(tmp_path: Path) -> None:
    path = tmp_path / "again.csv"

    assert write(path) == roster.ROWS

    # Names differ from one Faker to the next; their number and everything else does not.
    again, committed = read_recipients(path), read_recipients()
    assert [(domain(one), one.lane, one.expires_in) for one in again if not is_wrong(one)] == [
        (domain(one), one.lane, one.expires_in) for one in committed if not is_wrong(one)
    ]
    assert path.read_bytes().splitlines()[0] == FILE.read_bytes().splitlines()[0]


def test_rows_are_numbered_as_a_spreadsheet_does(tmp_path: Path) -> None:
    path = tmp_path / "few.csv"
    head = FILE.read_text("utf-8").splitlines()[0]
    path.write_text(f'{head}\na@x.test,"A\nB",,de,,high,,,,,60\n\nb@x.test,,,,,bulk,,,,,\n', "utf-8")

    first, second = read_recipients(path)

    assert (first.row, first.name, first.expires_in) == (2, "A\nB", 60)
    assert (second.row, second.name, second.mailbox) == (4, "", "b@x.test")


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("email,lane\n", "lacks the columns first_name"),
        ("{head}\na@x.test,,,,,urgent,,,,,\n", "row 2: the lane is 'urgent'"),
        ("{head}\na@x.test,,,,,high,,,,,soon\n", "row 2: expires_in is 'soon'"),
        ("{head}\na@x.test,high\n", "row 2: it has 2 cells, the header has 11"),
        ('{head}\n"a@x.test,,,,,high,,,,,\n', "is not a CSV file"),
        ("{head}\n\xff", "is not UTF-8"),
    ],
)
def test_a_file_that_cannot_be_used_is_explained(tmp_path: Path, text: str, words: str) -> None:
    path = tmp_path / "bad.csv"
    head = FILE.read_text("utf-8").splitlines()[0]
    path.write_bytes(text.replace("{head}", head).encode("latin-1"))

    with pytest.raises(DevstackError, match=re.escape(words)):
        read_recipients(path)


def test_a_file_that_is_not_there_is_explained(tmp_path: Path) -> None:
    with pytest.raises(DevstackError, match="No such file"):
        read_recipients(tmp_path / "none.csv")


def test_mailboxes_and_envelopes() -> None:
    fields = {"first_name": 'Anne "Annie"', "last_name": "Sm\\ith", "language": "en"}
    one = Recipient(2, "Ada@Bücher-Ecke.TEST", Lane.HIGH, fields)
    two = Recipient(3, "x@y.test", Lane.HIGH, {"first_name": "直樹", "last_name": "林", "language": "ja"})

    assert one.mailbox == '"Anne \\"Annie\\" Sm\\\\ith" <Ada@Bücher-Ecke.TEST>'
    assert one.envelope == "Ada@xn--bcher-ecke-9db.test"
    assert two.name == "林直樹"
