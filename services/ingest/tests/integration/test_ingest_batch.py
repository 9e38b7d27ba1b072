"""Batches and bulk calls against real servers."""

from uuid import UUID

import pytest

from mailwarren.contracts.ids import partition_of
from mailwarren.contracts.lanes import Lane
from mailwarren.contracts.parcel import Syntax


def bulk(rows, **changes):
    body = {
        "from": "Ada <ada@sender.test>",
        "subject": "Hello {{ name }}",
        "html": "<p>{{ name }}, your code is {{ code }}.</p>",
        "text": "Your code is {{ code }}.",
        "recipients": rows,
    }
    return body | changes


def nested(depth):
    value = []
    for _ in range(depth):
        value = [value]
    return value


def row(number, to="p{}@d{}.test"):
    return {"to": to.format(number, number % 7), "variables": {"name": f"P {number}", "code": number}}


def test_a_batch_shares_a_partition_and_keeps_its_order(client, queues, mail):
    answer = client.post("/emails/batch", json=[mail | {"subject": str(n)} for n in range(100)])
    assert answer.status_code == 200
    ids = [sent["id"] for sent in answer.json()["data"]]
    parcels = queues.parcels()
    assert len({parcel.partition for parcel in parcels}) == 1
    subjects = {str(parcel.deliveries[0].email_id): parcel.content.subject for parcel in parcels}
    assert [subjects[ident] for ident in ids] == [str(n) for n in range(100)]


def test_a_batch_has_1_to_100_emails_and_a_known_mode(client, queues, mail):
    assert client.post("/emails/batch", json=[]).json()["name"] == "missing_required_field"
    assert "100" in client.post("/emails/batch", json=[mail] * 101).json()["message"]
    assert client.post("/emails/batch", json=mail).json()["name"] == "validation_error"
    answer = client.post("/emails/batch", json=[mail], headers={"x-batch-validation": "lax"})
    assert "x-batch-validation" in answer.json()["message"]
    assert queues.parcels() == []


def test_in_a_strict_batch_one_foreign_sender_stops_all(server, new_caller, queues, mail):
    with server.client(new_caller(domains=["sender.test"]).token) as client:
        body = [mail, mail | {"from": "ada@other.test"}]
        assert client.post("/emails/batch", json=body).status_code == 403
        assert queues.parcels() == []
        answer = client.post("/emails/batch", json=body, headers={"x-batch-validation": "permissive"})
        assert [error["index"] for error in answer.json()["errors"]] == [1]
        assert len(queues.parcels()) == 1


def test_bulk_rows_are_emails_of_their_own_in_parcels_of_up_to_50(client, queues):
    answer = client.post("/emails/bulk", json=bulk([row(n) for n in range(500)], metadata={"list": "may"}))
    assert answer.status_code == 202
    body = answer.json()
    assert body["errors"] == []
    assert [item["index"] for item in body["data"]] == list(range(500))
    parcels = queues.parcels()
    sizes: dict[str, list[int]] = {}
    for parcel in parcels:
        sizes.setdefault(parcel.shard, []).append(len(parcel.deliveries))
    for found in sizes.values():
        assert len(found) == -(-sum(found) // 50)
        assert max(found) - min(found) <= 1
    assert max(map(len, sizes.values())) > 1
    for parcel in parcels:
        assert parcel.request_id == UUID(body["id"])
        assert (parcel.lane, parcel.partition) == (Lane.BULK, partition_of(UUID(body["id"])))
        assert (parcel.content.to, parcel.content.syntax) == ((), Syntax.TEMPLATE)
    deliveries = {str(d.email_id): d for parcel in parcels for d in parcel.deliveries}
    assert len(deliveries) == 500
    for item in body["data"]:
        delivery = deliveries[item["id"]]
        assert delivery.to == item["to"] == f"p{item['index']}@d{item['index'] % 7}.test"
        assert delivery.variables == {"name": f"P {item['index']}", "code": item["index"]}
        assert delivery.metadata == {"list": "may"}


def test_wrong_bulk_rows_are_named_and_the_others_sent(client, queues):
    wrong = [
        {"to": "nobody", "variables": {}},
        {"to": 7},
        {"variables": {"name": "x", "code": 1}},
        {"to": "a@b.test"},
        {"to": "a@b.test", "variables": {"name": "x\r\nBcc: eve@example.test", "code": 1}},
        {"to": "a@b.test", "variables": {"name": "x", "code": "\x00"}},
        {"to": "a@b.test", "variables": {"name": "x", "code": 1}, "colour": "red"},
        {"to": "a@b.test", "variables": {"name": "x", "code": "y" * 40_000}},
        {"to": "a@b.test", "variables": {"name": "x", "code": 1}, "metadata": {"": "x"}},
        "nonsense",
    ]
    wrong.append({"to": "a@b.test", "variables": {"name": "x", "code": nested(17)}})
    answer = client.post("/emails/bulk", json=bulk([row(0), *wrong, row(1)]))
    assert answer.status_code == 202
    errors = {error["index"]: error["message"] for error in answer.json()["errors"]}
    assert [item["index"] for item in answer.json()["data"]] == [0, 12]
    assert sorted(errors) == list(range(1, 12))
    words = [
        "`recipients[0].to`", "`recipients[1].to`", "`recipients[2].to`", "`code`, `name`", "rendered subject", "NUL",
        "`recipients[6].colour`", "larger than", "`recipients[8].metadata`", "`recipients[9]`", "nested",
    ]  # fmt: skip
    for index, word in enumerate(words, 1):
        assert word.replace(f"[{index - 1}]", f"[{index}]") in errors[index], errors[index]
    assert sum(len(parcel.deliveries) for parcel in queues.parcels()) == 2


def test_a_bulk_call_that_cannot_be_sent_as_a_whole_is_refused(client, queues):
    for change, status, words in (
        ({"html": "{{ name"}, 422, "`html`"),
        ({"subject": "{% for %}"}, 422, "`subject`"),
        ({"recipients": []}, 422, "`recipients`"),
        ({"recipients": [{"to": "a@b.test"}] * 10_001}, 422, "10000"),
        ({"recipients": {}}, 422, "`recipients`"),
        ({"to": "a@b.test"}, 422, "`to`"),
        ({"html": None, "text": None}, 422, "`html` or `text`"),
        ({"expires_at": "2001-01-01T00:00:00Z"}, 422, "in the past"),
    ):
        answer = client.post("/emails/bulk", json=bulk([row(1)], **change))
        assert answer.status_code == status, change
        assert words in answer.json()["message"]
    assert queues.parcels() == []


@pytest.mark.parametrize("headers", [{}, {"Idempotency-Key": "rows"}], ids=["plain", "keyed"])
@pytest.mark.parametrize(
    "row",
    [
        '{"to": "b@x.test", "variables": {"name": "\\ud83d"}}',
        '{"to": "b@x.test", "variables": {"name": ' + "[" * 5000 + "]" * 5000 + "}}",
        '{"to": "b@x.test", "variables": {"name": 1e999}}',
        '{"to": 5}',
    ],
    ids=["surrogate", "deep", "huge number", "type"],
)
def test_a_row_that_cannot_be_read_is_an_error_of_its_place(client, queues, row, headers):
    body = f'{{"from": "ada@sender.test", "subject": "x", "text": "x", "recipients": [{{"to": "a@b.test"}}, {row}]}}'
    answer = client.post("/emails/bulk", content=body, headers=headers)
    assert answer.status_code == 202, answer.text
    assert [one["to"] for one in answer.json()["data"]] == ["a@b.test"]
    assert [one["index"] for one in answer.json()["errors"]] == [1]
    assert len(queues.parcels()) == 1


def test_a_bulk_call_from_a_foreign_domain_is_forbidden(server, new_caller, queues):
    with server.client(new_caller(domains=["other.test"]).token) as client:
        assert client.post("/emails/bulk", json=bulk([row(1)])).status_code == 403
    assert queues.parcels() == []


def test_when_no_bulk_row_is_right_the_answer_says_so_by_row(client, queues):
    answer = client.post("/emails/bulk", json=bulk([{"to": "x"}]))
    assert (answer.status_code, answer.json()["data"]) == (202, [])
    assert len(answer.json()["errors"]) == 1
    assert queues.parcels() == []
