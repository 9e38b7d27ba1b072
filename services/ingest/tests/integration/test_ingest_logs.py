"""``/v1/logs``: what was asked of the API and what it answered, through the official SDK."""

import asyncio

import pytest
import resend
from prometheus_client import REGISTRY
from resend.logs import Log, Logs
from sdk_shapes import check, refused

from mailwarren.contracts.ids import new_id
from mailwarren.ingest.adapters import api_logs
from mailwarren.ingest.adapters.database import Database

MAIL = {"from": "Ada <ada@a.test>", "to": ["bob@x.test"], "subject": "Hello", "html": "<p>Dear Bob</p>"}


@pytest.fixture
def written(server, place, caller, wait_until):
    """Waits for so many rows of the caller's."""

    def wait(number):
        sql = "SELECT count(*) FROM api_logs WHERE tenant = $1"
        wait_until(lambda: place.sql(sql, caller.tenant)[0][0] >= number)

    return wait


def dropped():
    return REGISTRY.get_sample_value("mailwarren_ingest_api_logs_dropped_total") or 0


def test_a_call_is_kept_without_what_it_says(sdk, written):
    sent = resend.Emails.send(MAIL)
    written(1)
    (listed,) = resend.Logs.list()["data"]
    check(listed, Log)
    assert (listed["method"], listed["endpoint"], listed["response_status"]) == ("POST", "/emails", 200)
    assert "resend-python" in listed["user_agent"]
    found = resend.Logs.get(listed["id"])
    check(found, Logs.GetResponse)
    assert found["object"] == "log"
    assert found["request_body"] == {
        "from": "a…@a.test", "to": ["b…@x.test"], "subject": "Hello", "html": "[15 characters]",
    }  # fmt: skip
    assert found["response_body"] == {"id": sent["id"]}


def test_refusals_are_kept_too_and_secrets_are_not(sdk, client, written):
    made = resend.ApiKeys.create({"name": "shop"})
    assert client.post("/emails", json={"to": "x"}).status_code == 422
    written(2)
    refusal, creation = resend.Logs.list()["data"]
    assert (refusal["response_status"], creation["endpoint"]) == (422, "/api-keys")
    assert resend.Logs.get(refusal["id"])["response_body"]["statusCode"] == 422
    body = resend.Logs.get(creation["id"])["response_body"]
    assert body == {"id": made["id"], "token": "[hidden]"}


def test_pages_go_back_in_time(sdk, client, written):
    for _ in range(5):
        client.get("/segments")
        written(1)
    written(5)
    first = resend.Logs.list({"limit": 2})
    assert (len(first["data"]), first["has_more"]) == (2, True)
    second = resend.Logs.list({"limit": 3, "after": first["data"][-1]["id"]})
    assert (len(second["data"]), second["has_more"]) == (3, False)
    times = [one["created_at"] for one in (*first["data"], *second["data"])]
    assert times == sorted(times, reverse=True)


def test_reading_logs_makes_none(sdk, client, written):
    client.get("/segments")
    written(1)
    for _ in range(3):
        assert len(resend.Logs.list()["data"]) == 1


def test_another_tenants_log_is_none(sdk, client, server, new_caller, written):
    client.get("/segments")
    written(1)
    ident = resend.Logs.list()["data"][0]["id"]
    with server.client(new_caller().token) as other:
        assert other.get(f"/logs/{ident}").status_code == 404
        assert other.get("/logs").json()["data"] == []
    assert refused(resend.Logs.get, str(new_id()))[0] == 404


def test_the_sdk_that_waits_for_nothing_gets_the_same(sdk, client, written):
    client.get("/segments")
    written(1)

    async def both():
        (listed,) = (await resend.Logs.list_async())["data"]
        return listed, await resend.Logs.get_async(listed["id"])

    listed, found = asyncio.run(both())
    assert found["id"] == listed["id"]


def test_more_than_can_be_written_is_counted_and_refusals_have_room(place, caller):
    logs = api_logs.ApiLogs(Database(place.database_url, 2), writes=True)  # that nobody opens
    before = dropped()

    def call(status):
        logs.add(
            caller.tenant, caller.key, method="POST", path="/v1/emails", status=status, agent=None,
            request=b"{}", response=b"{}",
        )  # fmt: skip

    for _ in range(api_logs.MOST + 7):
        call(200)
    assert dropped() - before == 7
    for _ in range(api_logs.MOST + 3):
        call(422)
    assert dropped() - before == 10


def test_what_postgres_cannot_take_is_mended(place, server, caller, client, written):
    assert client.get("/segments/%00%ff").status_code == 422
    written(1)


def test_nothing_is_kept_where_nobody_wants_it(place, new_caller):
    from conftest import Server

    caller = new_caller()
    running = Server(place.settings(api_logs_days=0))
    try:
        with running.client(caller.token) as client:
            client.get("/segments")
    finally:
        # What waits is written at the end.
        running.stop()
    assert place.sql("SELECT count(*) FROM api_logs WHERE tenant = $1", caller.tenant)[0][0] == 0
