"""Every answer is checked; what asks for patience is no failure."""

import json
from uuid import UUID, uuid4

import pytest

from mailwarren.load.verdict import Accepted, Again, Form, Wrong, judge

TO = ["a@one.test", "b@two.test", "c@three.test"]
IDS = [uuid4() for _ in TO]
BULK = {"data": [{"index": n, "id": str(IDS[n]), "to": TO[n]} for n in range(3)], "errors": []}


def said(form: Form, status: int, body: object, addresses=TO, **headers: str):
    return judge(form, status, {key.replace("_", "-"): value for key, value in headers.items()}, _json(body), addresses)


def _json(body: object) -> bytes:
    return json.dumps(body, default=str).encode()


def test_each_yes_gives_the_ids_in_the_order_of_the_call() -> None:
    assert said(Form.SINGLE, 200, {"id": IDS[0]}, TO[:1]) == Accepted((IDS[0],))
    assert said(Form.BATCH, 200, {"data": [{"id": ident} for ident in IDS]}) == Accepted(tuple(IDS))
    backwards = {"data": BULK["data"][::-1], "errors": []}
    assert said(Form.BULK, 202, backwards) == Accepted(tuple(IDS))


@pytest.mark.parametrize("status", [429, 503, 502, 504, 0])
def test_pressure_is_waited_for_and_no_failure(status: int) -> None:
    assert said(Form.SINGLE, status, {}, retry_after="3") == Again(status, 3.0)
    assert said(Form.SINGLE, status, {}, retry_after="86400") == Again(status, 10.0)
    assert said(Form.SINGLE, status, {}, retry_after="Wed, 21 Oct 2026 07:28:00 GMT") == Again(status, 0.5)


def test_a_call_in_flight_is_asked_for_again_and_another_conflict_is_wrong() -> None:
    assert isinstance(said(Form.SINGLE, 409, {}, retry_after="1"), Again)
    assert isinstance(said(Form.SINGLE, 409, {"name": "invalid_idempotent_request", "message": "no"}), Wrong)


def test_a_refusal_has_the_words_of_the_api() -> None:
    verdict = said(Form.SINGLE, 422, {"statusCode": 422, "name": "validation_error", "message": "Invalid `to` field"})
    assert verdict == Wrong("status 422: Invalid `to` field")
    assert "no error body" in said(Form.SINGLE, 500, "<html>").reason


def test_a_yes_with_another_status_is_wrong() -> None:
    assert isinstance(said(Form.BULK, 200, BULK), Wrong)
    assert isinstance(said(Form.SINGLE, 202, {"id": IDS[0]}, TO[:1]), Wrong)


def test_ids_that_are_missing_doubled_or_for_another_address_are_wrong() -> None:
    assert "1 of 3" in said(Form.BULK, 202, {"data": BULK["data"][:2], "errors": []}).reason
    twice = [*BULK["data"][:2], {**BULK["data"][2], "id": str(IDS[0])}]
    assert "id of their own" in said(Form.BULK, 202, {"data": twice, "errors": []}).reason
    swapped = [{**BULK["data"][0], "to": TO[1]}, *BULK["data"][1:]]
    assert "another address" in said(Form.BULK, 202, {"data": swapped, "errors": []}).reason
    beyond = [*BULK["data"], {"index": 3, "id": str(uuid4()), "to": "x@y.test"}]
    assert isinstance(said(Form.BULK, 202, {"data": beyond, "errors": []}), Wrong)
    assert isinstance(said(Form.SINGLE, 200, {"id": "none"}, TO[:1]), Wrong)


def test_rows_without_a_confirm_are_asked_for_until_the_answer_is_final() -> None:
    body = {"data": BULK["data"][:2], "errors": [{"index": 2, "message": "not confirmed"}]}
    known: dict[int, UUID] = {0: IDS[0], 1: IDS[1]}
    first = said(Form.BULK, 202, body)
    assert isinstance(first, Again) and first.ids == known
    final = said(Form.BULK, 202, body, idempotent_replayed="true")
    assert isinstance(final, Wrong) and final.ids == known


def test_a_batch_with_errors_keeps_the_places_of_the_others() -> None:
    body = {"data": [{"id": IDS[0]}, {"id": IDS[2]}], "errors": [{"index": 1, "message": "no"}]}
    verdict = said(Form.BATCH, 200, body, idempotent_replayed="true")
    assert isinstance(verdict, Wrong) and verdict.ids == {0: IDS[0], 2: IDS[2]}
