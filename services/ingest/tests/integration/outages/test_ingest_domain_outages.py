"""While Postgres is away mail is accepted and told what it is signed for: it never goes unsigned by that."""

import httpx
import pytest

from mailwarren.contracts.dkim import keys_path
from mailwarren.runtime.vault import new_key

TOKEN = "internal-token-of-a-test"


@pytest.fixture
def settings(tmp_path):
    (tmp_path / "keys").write_text(new_key())
    return {"data_keys": tmp_path / "keys", "internal_token": TOKEN, "resolver": "127.0.0.1:9"}


def inside(server, tenant, domain) -> httpx.Response:
    async def ask() -> httpx.Response:
        transport = httpx.ASGITransport(server.api.internal)
        async with httpx.AsyncClient(transport=transport, base_url="http://inside") as client:
            return await client.get(keys_path(tenant, domain), headers={"Authorization": f"Bearer {TOKEN}"})

    return server.run(ask())


def test_mail_goes_on_and_says_its_domain(start, wire, place, caller, settings, mail, queues):
    line = wire(place.database_url)
    server = start(database_url=line.url, **settings)
    with server.client(caller.token) as client:
        made = client.post("/domains", json={"name": "away.test"}).json()
        line.cut()
        mine = mail | {"from": "ada@news.away.test"}
        assert client.post("/emails", json=mine).status_code == 200
        assert client.post("/emails/batch", json=[mine, mail]).status_code == 200
        rows = [{"to": "a@example.test"}]
        bulk = {"from": mine["from"], "subject": "s", "text": "t", "recipients": rows}
        assert client.post("/emails/bulk", json=bulk).status_code == 202
        signers = [parcel.content.signing for parcel in queues.parcels()]
        assert sorted(map(str, signers)) == ["None", "away.test", "away.test", "away.test"]
        # All else waits for the database.
        for method, path in (
            ("GET", "/domains"),
            ("GET", f"/domains/{made['id']}"),
            ("POST", f"/domains/{made['id']}/verify"),
            ("POST", f"/domains/{made['id']}/rotate"),
            ("DELETE", f"/domains/{made['id']}"),
        ):
            assert client.request(method, path).status_code == 503, path
        assert client.post("/domains", json={"name": "other.test"}).status_code == 503
        assert inside(server, caller.tenant, "away.test").status_code == 503
        line.mend()
        assert client.get(f"/domains/{made['id']}").json()["name"] == "away.test"
        assert inside(server, caller.tenant, "away.test").status_code == 200


def test_an_api_that_has_not_read_the_domains_accepts_nothing(
    start, wire, place, caller, settings, mail, queues, wait_until
):
    line = wire(place.database_url)
    server = start(database_url=line.url, **settings)
    with server.client(caller.token) as client:
        client.post("/domains", json={"name": "early.test"})
        line.cut()
        # As it is at a start: the API keys were read, and then the database went away.
        domains = server.api.domains
        domains._tenants, domains._since = {}, None
        answer = client.post("/emails", json=mail | {"from": "ada@early.test"})
        assert answer.status_code == 503
        assert "have not been read yet" in answer.json()["message"]
        assert httpx.get(f"{server.root}/readyz").status_code == 503
        line.mend()
        wait_until(lambda: client.post("/emails", json=mail | {"from": "ada@early.test"}).status_code == 200)
    (parcel,) = queues.parcels()
    assert parcel.content.signing == "early.test"
