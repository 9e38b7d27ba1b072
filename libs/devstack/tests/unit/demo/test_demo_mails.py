"""The bodies of calls, as the API takes them."""

from datetime import UTC, datetime

from mailwarren.contracts.lanes import Lane
from mailwarren.devstack.demo.mails import receipt_mail, renewal_mail, sign_in_mail
from mailwarren.devstack.demo.recipients import Recipient

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)
FIELDS = {
    "email": "ada@x.test",
    "first_name": "Ada",
    "last_name": "L.",
    "plan": "pro",
    "amount": "9.90",
    "currency": "EUR",
}


def person(row: int = 7, lane: Lane = Lane.HIGH, expires_in: int | None = None) -> Recipient:
    return Recipient(row, "ada@x.test", lane, FIELDS, expires_in)


def test_every_sign_in_code_is_one_persons_and_one_runs() -> None:
    subjects = {sign_in_mail(person(row), run, NOW)["subject"] for row in range(50) for run in ("a", "b")}

    assert len(subjects) == 100
    assert all(subject[:6].isdecimal() for subject in subjects)


def test_a_mail_says_which_run_and_row_it_is() -> None:
    assert sign_in_mail(person(), "r1", NOW)["metadata"] == {"demo_run": "r1", "demo_row": "7"}
    assert receipt_mail(person(), "r1", NOW)["metadata"] == {"demo_run": "r1", "demo_row": "7"}
    bulk = renewal_mail([person(), person(8)], "r1", NOW)
    assert bulk["metadata"] == {"demo_run": "r1"}
    assert [row["metadata"] for row in bulk["recipients"]] == [{"demo_row": "7"}, {"demo_row": "8"}]


def test_the_expiry_counts_from_now() -> None:
    assert sign_in_mail(person(expires_in=15), "r", NOW)["expires_at"] == "2026-03-01T12:00:15+00:00"
    assert renewal_mail([person(expires_in=15)], "r", NOW)["expires_at"] == "2026-03-01T12:00:15+00:00"
    assert "expires_at" not in receipt_mail(person(), "r", NOW)


def test_an_empty_cell_is_no_variable() -> None:
    row = renewal_mail([person()], "r", NOW)["recipients"][0]

    assert row["variables"] == {name: value for name, value in FIELDS.items() if name != "email"}
    assert row["to"] == '"Ada L." <ada@x.test>'


def test_lanes_are_asked_for() -> None:
    assert sign_in_mail(person(), "r", NOW)["priority"] == "high"
    assert receipt_mail(person(), "r", NOW)["priority"] == "normal"
    assert "Receipt MW-2026-000007" in receipt_mail(person(), "r", NOW)["subject"]
