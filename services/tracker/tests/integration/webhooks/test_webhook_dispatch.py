"""Events on their way: fair to all endpoints, with one id however often, and lost in no crash."""

import asyncio
import json
import socket
import time

import pytest
import standardwebhooks.webhooks
import svix.webhooks

from mailwarren.contracts.ids import new_id
from mailwarren.contracts.testing import TENANT
from mailwarren.contracts.webhooks import secret_text
from mailwarren.runtime.vault import Vault
from mailwarren.tracker.adapters.webhook_queue import claim, endpoints
from mailwarren.tracker.webhooks import dispatch

pytestmark = pytest.mark.postgres
SECRET = b"s" * 32


@pytest.fixture
def nobody():
    """A port at which nobody listens."""
    with socket.create_server(("127.0.0.1", 0)) as closed:
        return f"http://127.0.0.1:{closed.getsockname()[1]}/"


async def test_an_event_arrives_signed_and_is_done(hooks, receiver, telling, eventually):
    one = await receiver()
    endpoint = await hooks.add(one.url)
    await telling()
    (ident,) = await hooks.tell(endpoint)
    await eventually(lambda: one.got)
    (got,) = one.got
    for library in (svix.webhooks.Webhook, standardwebhooks.webhooks.Webhook):
        library(secret_text(SECRET)).verify(got.body, got.headers)
        payload = json.loads(got.body)
        assert (payload["type"], payload["data"]) == ("contact.created", {"email": "a@b.test"})
    assert got.id == ident
    assert got.headers["content-type"] == "application/json"
    await eventually(lambda: done(hooks, endpoint, 1))
    row = await hooks.row(ident)
    assert (row["attempts"], row["due_at"], row["claim"]) == (1, None, None)
    tried = await hooks.database.fetchrow("SELECT * FROM webhook_attempts")
    assert (str(tried["event"]), tried["status"], tried["response"]) == (ident, 200, "thanks")
    assert (await hooks.health(endpoint))["failing_since"] is None


async def done(hooks, endpoint, number):
    return await hooks.states(endpoint) == {"success": number}


async def test_every_try_has_the_same_id_and_body_and_a_time_of_its_own(hooks, receiver, telling, eventually):
    one = await receiver(status=500)
    endpoint = await hooks.add(one.url)
    (ident,) = await hooks.tell(endpoint)
    await telling(scale=0.0001)
    await eventually(lambda: len(one.got) >= 4)
    one.status = 204
    await eventually(lambda: done(hooks, endpoint, 1))
    assert set(one.ids) == {ident}
    assert len({got.body for got in one.got}) == 1
    row = await hooks.row(ident)
    assert row["attempts"] == len(one.got)
    statuses = await hooks.database.fetch("SELECT status FROM webhook_attempts ORDER BY sent_at")
    assert [status[0] for status in statuses] == [500] * (len(one.got) - 1) + [204]


async def test_the_schedule_is_kept_and_ends(hooks, receiver, telling, eventually):
    one = await receiver(status=503)
    endpoint = await hooks.add(one.url)
    (ident,) = await hooks.tell(endpoint)
    await telling()
    await eventually(lambda: attempted(hooks, ident, 1))
    row = await hooks.row(ident)
    wait = row["due_at"].timestamp() - time.time()
    assert row["state"] == "attempting" and 9 < wait <= 10
    await hooks.database.execute("UPDATE webhook_deliveries SET attempts = 7, due_at = now()")
    await eventually(lambda: attempted(hooks, ident, 8))
    row = await hooks.row(ident)
    assert (row["state"], row["due_at"]) == ("failed", None)
    assert set(one.ids) == {ident}


async def attempted(hooks, ident, number):
    row = await hooks.row(ident)
    return row["attempts"] == number and row["claim"] is None


async def test_a_dead_endpoint_with_ten_thousand_events_delays_no_other(hooks, receiver, telling):
    """It takes connections and never answers, which is the worst that it can do."""
    dead, live = await receiver(delay=3600), await receiver()
    to_dead, to_live = await hooks.add(dead.url), await hooks.add(live.url)
    for _ in range(10):
        await hooks.tell(to_dead, 1000)
    await telling(timeout=4.0, interval=0.25)
    await asyncio.sleep(1.0)
    assert dead.connections >= 10
    late = {}
    for _ in range(15):
        began = time.monotonic()
        (ident,) = await hooks.tell(to_live)
        late[ident] = began
        await asyncio.sleep(0.2)
    await asyncio.sleep(1.0)
    delays = [got.at - late[got.id] for got in live.got]
    assert len(delays) == 15
    assert max(delays) < 1.0, delays
    assert dead.most <= 10


async def test_many_dead_endpoints_leave_half_of_the_room_to_the_others(hooks, receiver, telling, nobody, eventually):
    dead = [await hooks.add(nobody) for _ in range(30)]
    for endpoint in dead:
        await hooks.tell(endpoint, 20)
    live = await receiver()
    to_live = await hooks.add(live.url)
    await telling(all=10, each=4)
    began = time.monotonic()
    await hooks.tell(to_live, 40)
    await eventually(lambda: len(live.got) == 40, 20)
    assert time.monotonic() - began < 10


async def test_a_failing_endpoint_is_tried_with_one_event_at_a_time_until_it_is_back(
    hooks, receiver, telling, eventually
):
    one = await receiver(status=500, delay=0.02)
    endpoint = await hooks.add(one.url)
    ids = await hooks.tell(endpoint, 60)
    await telling(each=5, scale=0.02)
    await eventually(lambda: len(one.got) >= 10)
    one.most = 0
    await asyncio.sleep(0.3)
    assert one.most <= 1
    one.status, one.most = 200, 0
    await eventually(lambda: done(hooks, endpoint, 60), 20)
    assert set(one.ids) == set(ids)
    assert 1 < one.most <= 5


async def test_so_many_at_once_and_not_more(hooks, receiver, telling, eventually):
    one = await receiver(delay=0.05)
    endpoint = await hooks.add(one.url)
    await hooks.tell(endpoint, 50)
    await telling(each=7)
    await eventually(lambda: done(hooks, endpoint, 50), 15)
    assert one.most == 7
    assert sorted(one.ids) == sorted(set(one.ids))


async def test_several_processes_share_the_work_and_tell_nothing_twice(hooks, receiver, telling, eventually):
    one = await receiver(delay=0.01)
    endpoint = await hooks.add(one.url)
    ids = await hooks.tell(endpoint, 400)
    for _ in range(3):
        await telling()
    await eventually(lambda: done(hooks, endpoint, 400), 20)
    assert sorted(one.ids) == sorted(ids)


async def test_what_a_process_took_and_did_not_finish_is_tried_by_another(kept, hooks, receiver, telling, eventually):
    one = await receiver()
    endpoint = await hooks.add(one.url)
    ids = await hooks.tell(endpoint, 5)
    async with kept.use() as connection:
        taken = await claim(connection, {(TENANT, endpoint): 3}, 10, 1.5)
    assert [str(found.id) for found in taken] == ids[:3]
    await telling()
    await eventually(lambda: len(one.got) == 2)
    await asyncio.sleep(0.3)
    assert one.ids == ids[3:]
    await eventually(lambda: done(hooks, endpoint, 5))
    assert sorted(one.ids) == sorted(ids)


async def test_after_a_rotation_both_secrets_sign_until_the_old_one_ends(hooks, receiver, telling, eventually):
    one = await receiver()
    endpoint = await hooks.add(one.url)
    new = b"n" * 32
    await hooks.database.execute(
        "UPDATE webhooks SET previous_secret = secret, previous_until = now() + interval '3 seconds', secret = $1",
        hooks.vault.close(new),
    )
    await telling()
    await hooks.tell(endpoint)
    await eventually(lambda: len(one.got) == 1)
    for key in (new, SECRET):
        svix.webhooks.Webhook(secret_text(key)).verify(one.got[0].body, one.got[0].headers)
    await asyncio.sleep(4.2)
    await hooks.tell(endpoint)
    await eventually(lambda: len(one.got) == 2)
    svix.webhooks.Webhook(secret_text(new)).verify(one.got[1].body, one.got[1].headers)
    with pytest.raises(svix.webhooks.WebhookVerificationError):
        svix.webhooks.Webhook(secret_text(SECRET)).verify(one.got[1].body, one.got[1].headers)


async def test_a_replay_during_a_try_is_another_try(hooks, receiver, telling, eventually):
    one = await receiver(delay=0.5)
    endpoint = await hooks.add(one.url)
    (ident,) = await hooks.tell(endpoint)
    await telling()
    await eventually(lambda: one.got)
    assert await hooks.database.fetchval("SELECT replay_webhook($1, $2, $3)", TENANT, endpoint, ident)
    await eventually(lambda: len(one.got) == 2)
    await eventually(lambda: done(hooks, endpoint, 1))
    assert one.ids == [ident, ident]
    assert not await hooks.database.fetchval("SELECT replay_webhook($1, $2, $3)", new_id(), endpoint, ident)


async def test_410_disables_the_endpoint_and_the_others_of_the_tenant_are_told(hooks, receiver, telling, eventually):
    gone, other, stranger = await receiver(status=410), await receiver(), await receiver()
    to_gone = await hooks.add(gone.url)
    await hooks.add(other.url, ["webhook.disabled"])
    await hooks.add(stranger.url, tenant=new_id())
    await hooks.tell(to_gone, 3)
    await telling(each=1)
    await eventually(lambda: other.got)
    await asyncio.sleep(0.3)
    assert len(other.got) == 1 and stranger.got == []
    svix.webhooks.Webhook(secret_text(SECRET)).verify(other.got[0].body, other.got[0].headers)
    payload = json.loads(other.got[0].body)
    assert payload["data"]["id"] == str(to_gone)
    assert "410" in payload["data"]["reason"]
    health = await hooks.health(to_gone)
    assert health["disabled_at"] is not None
    await asyncio.sleep(1.2)
    number = len(gone.got)
    await hooks.tell(to_gone)
    await asyncio.sleep(0.5)
    assert len(gone.got) == number, "it is told nothing any more"
    await hooks.database.execute("UPDATE webhooks SET enabled_at = now() WHERE id = $1", to_gone)
    gone.status = 200
    await eventually(lambda: len(gone.got) > number)


async def test_what_cannot_be_read_by_our_keys_waits_for_others(hooks, receiver, telling, eventually):
    one = await receiver()
    endpoint = await hooks.add(one.url)
    await hooks.tell(endpoint)
    await telling(vault=Vault(["o" * 43 + "="]))
    await telling(vault=None)
    await asyncio.sleep(1.0)
    assert one.got == []
    assert (await hooks.states(endpoint)) == {"pending": 1}
    await telling()
    await eventually(lambda: done(hooks, endpoint, 1))


async def test_a_private_address_is_a_failed_try(hooks, receiver, telling, eventually):
    one = await receiver()
    endpoint = await hooks.add(one.url)
    (ident,) = await hooks.tell(endpoint)
    await telling(private=False)
    await eventually(lambda: attempted(hooks, ident, 1))
    tried = await hooks.database.fetchrow("SELECT status, response FROM webhook_attempts")
    assert tuple(tried) == (0, "127.0.0.1 has an address that is not public")
    assert one.connections == 0


async def test_a_deleted_and_a_moved_endpoint_are_seen_within_a_second(hooks, receiver, telling, eventually):
    before, after = await receiver(), await receiver()
    endpoint = await hooks.add(before.url)
    await telling()
    await hooks.tell(endpoint)
    await eventually(lambda: before.got)
    await hooks.database.execute("UPDATE webhooks SET endpoint = $1", after.url)
    await asyncio.sleep(1.3)
    await hooks.tell(endpoint)
    await eventually(lambda: after.got)
    await hooks.database.execute("DELETE FROM webhooks")
    await asyncio.sleep(1.3)
    await hooks.tell(endpoint)
    await asyncio.sleep(0.4)
    assert (len(before.got), len(after.got)) == (1, 1)


async def test_a_bug_of_ours_is_a_failed_try_and_holds_up_nobody(hooks, receiver, telling, eventually, monkeypatch):
    one = await receiver()
    endpoint = await hooks.add(one.url)
    plain = dispatch.payload_of
    bad, good = await hooks.tell(endpoint, 2)
    await hooks.database.execute("UPDATE webhook_deliveries SET kind = 'topic.created' WHERE id = $1", bad)

    def payload(kind, *arguments):
        if kind == "topic.created":
            raise KeyError("secret")
        return plain(kind, *arguments)

    monkeypatch.setattr(dispatch, "payload_of", payload)
    await telling()
    await eventually(lambda: attempted(hooks, bad, 1))
    await eventually(lambda: one.ids == [good])
    response = await hooks.database.fetchval("SELECT response FROM webhook_attempts WHERE event = $1", bad)
    assert response == "an error of ours: KeyError"


async def test_an_event_whose_email_is_never_recorded_is_told_with_what_is_known(hooks, receiver, telling, eventually):
    one = await receiver()
    endpoint = await hooks.add(one.url)
    fresh, old = await hooks.tell(endpoint), await hooks.tell(endpoint, age=dispatch.AWAITED + 5)
    await hooks.database.execute("UPDATE webhook_deliveries SET email_id = id")
    await telling()
    await eventually(lambda: one.got)
    await asyncio.sleep(0.3)
    assert one.ids == old
    row = await hooks.row(fresh[0])
    assert (row["attempts"], row["state"]) == (0, "pending")


async def test_a_claim_takes_what_there_is_room_for(kept, hooks):
    """Of each endpoint so many, in the order in which they were due, and together no more than asked for."""
    one, two = await hooks.add("http://one.test/"), await hooks.add("http://two.test/")
    first, second = await hooks.tell(one, 50), await hooks.tell(two, 50)
    async with kept.use() as connection:
        assert {found.id for found in await endpoints(connection)} == {one, two}
        taken = await claim(connection, {(TENANT, one): 4, (TENANT, two): 40}, 10, 60.0)
        assert [str(found.id) for found in taken] == sorted(first[:4] + second[:6])
        rest = await claim(connection, {(TENANT, one): 100, (TENANT, two): 100}, 1000, 60.0)
        assert len(rest) == 90
        assert await claim(connection, {(TENANT, one): 100}, 1000, 60.0) == []
