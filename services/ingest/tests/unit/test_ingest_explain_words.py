"""What is said of mail that is scheduled, of mail with attachments, and of mail without its keys; no database."""

from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

import pytest

from mailwarren.contracts.lanes import Lane
from mailwarren.contracts.parcel import Content
from mailwarren.contracts.shaping import MissingKeys
from mailwarren.ingest.domain.email import Recipient, SendEmail
from mailwarren.ingest.domain.explain import Known, WaitsFor, explain, explain_schedule, find_missing
from mailwarren.ingest.domain.queues import Look
from mailwarren.ingest.domain.scheduled import as_row, keep
from mailwarren.store.states import ScheduleState

NOW = datetime(2030, 1, 1, 12, tzinfo=UTC)
EMAIL = SendEmail(Content("a@sender.test"), "sender.test", (Recipient("b@x.test", "b@x.test"),), Lane.NORMAL)


def scheduled(state: ScheduleState, due: float, *, held: float | None = None, ended: float | None = None) -> Any:
    """A row as it is read, its times in seconds from now."""

    def at(seconds: float | None) -> datetime | None:
        return None if seconds is None else NOW + timedelta(seconds=seconds)

    return as_row(
        {
            "id": UUID(int=1), "base": UUID(int=1), "created_at": at(-9000), "lane": "normal", "state": state,
            "due_at": at(due), "held_at": at(held), "ended_at": at(ended), "history": None,
            "mail": keep(EMAIL, bulk=False, trace=None),
        }
    )  # fmt: skip


def test_before_its_time_it_waits_for_it() -> None:
    found = explain_schedule(scheduled(ScheduleState.SCHEDULED, 7500), NOW)
    assert (found.waits_for, found.next_attempt_at) == (WaitsFor.SCHEDULE, NOW + timedelta(seconds=7500))
    assert found.summary == "It is scheduled for 2030-01-01 14:05:00 UTC, in 2 h 5 min."


@pytest.mark.parametrize(("state", "ended"), [(ScheduleState.SCHEDULED, None), (ScheduleState.RELEASED, -1)])
@pytest.mark.parametrize("due", [0, -2])
def test_from_its_time_on_it_waits_for_a_scheduler(state: ScheduleState, ended: float | None, due: float) -> None:
    found = explain_schedule(scheduled(state, due, ended=ended), NOW)
    assert (found.waits_for, found.next_attempt_at) == (WaitsFor.TURN, NOW + timedelta(seconds=due))
    assert found.summary == "Its time has come: a scheduler releases it, or has just done so."


def test_what_was_found_too_late_waits_for_a_person() -> None:
    found = explain_schedule(scheduled(ScheduleState.HELD, -7500, held=-60), NOW)
    assert (found.waits_for, found.next_attempt_at) == (WaitsFor.PERSON, None)
    assert found.summary.startswith("It was due 2 h 5 min ago and was found too late")
    assert found.summary.endswith("release it, give it a new time, or cancel it.")


@pytest.mark.parametrize("held", [None, -60])
def test_what_was_canceled_waits_for_nothing(held: float | None) -> None:
    found = explain_schedule(scheduled(ScheduleState.CANCELED, -7500, held=held, ended=-30), NOW)
    assert (found.waits_for, found.next_attempt_at) == (WaitsFor.NOTHING, None)
    assert found.summary == "It was canceled at 2030-01-01 11:59:30 UTC, before its time."


def on_its_way(state: str, *, files: bool, messages: int = 0, **row: Any) -> str:
    """What is said of a mail that a sender takes from a queue."""
    look = Look(messages, consumers=1)
    known = Known(NOW, "send.normal.h0", look, None, guessed=True, overrides=(), senders=1, files=files)
    values = {"next_attempt_at": None, "reply_code": None, "trouble": None, "attempt": 1} | row
    return explain({"state": state} | values, known, canceled=False, until=None).summary


@pytest.mark.parametrize(
    ("state", "row"),
    [("accepted", {}), ("deferred", {"next_attempt_at": NOW - timedelta(seconds=5)})],
    ids=["accepted", "deferred and due"],
)
def test_mail_that_no_queue_has_may_wait_for_its_attachments(state: str, row: dict[str, Any]) -> None:
    assert "while a sender cannot fetch them, it waits on the ladder" in on_its_way(state, files=True, **row)
    assert "attachments" not in on_its_way(state, files=False, **row)


def test_mail_whose_wait_is_known_does_not_wait_for_its_attachments() -> None:
    assert "attachments" not in on_its_way("accepted", files=True, messages=3)
    assert "attachments" not in on_its_way("deferred", files=True, next_attempt_at=NOW + timedelta(seconds=5))


TENANT, OTHER = UUID(int=7), UUID(int=8)
MISSING = MissingKeys(TENANT, "sender.test", NOW.timestamp() - 150, "ingest answered 503")


def without_keys(state: str, *, messages: int = 0, **row: Any) -> Any:
    look = Look(messages, consumers=1)
    known = Known(NOW, "send.normal.h0", look, None, guessed=True, overrides=(), senders=1, missing=MISSING)
    values = {"next_attempt_at": None, "reply_code": None, "trouble": None, "attempt": 1} | row
    return explain({"state": state, "ended_at": None} | values, known, canceled=False, until=None)


@pytest.mark.parametrize(
    ("state", "row"),
    [("accepted", {}), ("accepted", {"messages": 9}), ("deferred", {"next_attempt_at": NOW - timedelta(seconds=5)})],
    ids=["accepted", "with others", "deferred and due"],
)
def test_mail_whose_domain_has_no_keys_waits_for_them(state: str, row: dict[str, Any]) -> None:
    found = without_keys(state, **row)
    assert (found.waits_for, found.ladder) == (WaitsFor.KEYS, "keys")
    assert "For 2 min 30 s a sender has not had the DKIM keys of sender.test (ingest answered 503)" in found.summary
    assert "never sent unsigned" in found.summary


def test_what_waits_for_something_else_first_says_so() -> None:
    assert without_keys("deferred", next_attempt_at=NOW + timedelta(seconds=5)).waits_for is WaitsFor.RETRY
    assert without_keys("delivered").waits_for is WaitsFor.NOTHING


@pytest.mark.parametrize(
    ("tenant", "sender", "waits"),
    [
        (TENANT, "Ada <ada@sender.test>", True),
        (TENANT, "ada@SENDER.test", True),
        (TENANT, "ada@news.sender.test", True),
        (TENANT, "ada@other-sender.test", False),
        (TENANT, "ada@test", False),
        (OTHER, "ada@sender.test", False),
    ],
)
def test_keys_are_missed_by_mail_of_their_tenant_and_domain(tenant: UUID, sender: str, waits: bool) -> None:
    assert find_missing([MISSING], tenant, sender) is (MISSING if waits else None)
