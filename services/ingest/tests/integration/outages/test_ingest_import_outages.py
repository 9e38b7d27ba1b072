"""Imports while the database goes away, at each side of them."""

import pytest
from import_runs import Workers

from mailwarren.ingest.adapters.database import DatabaseDown
from mailwarren.ingest.adapters.import_work import ImportWork
from mailwarren.ingest.adapters.imports import Imports
from mailwarren.ingest.ops import importing

FILE = b"email\n" + b"".join(b"p%d@example.org\n" % number for number in range(60))
CSV = {"content-type": "text/csv"}


@pytest.mark.usefixtures("workers")
def test_an_upload_is_refused_when_the_database_goes_away_in_it(start, wire, place, caller, monkeypatch):
    line = wire(place.database_url)
    server = start(database_url=line.url)
    plain = Imports.keep

    async def keep(self, *arguments):
        if arguments[2] > 0:
            line.cut()
        await plain(self, *arguments)

    monkeypatch.setattr(Imports, "keep", keep)
    with server.client(caller.token) as client:
        answer = client.post("/contacts/imports", content=FILE * 1_000, headers=CSV)
        assert (answer.status_code, answer.json()["name"]) == (503, "internal_server_error")
        assert client.get("/contacts/imports").status_code == 503
        line.mend()
        monkeypatch.undo()
        assert client.post("/contacts/imports", content=FILE, headers=CSV).status_code == 201
        assert len(client.get("/contacts/imports").json()["data"]) == 1
    states = place.sql("SELECT state FROM contact_imports ORDER BY state")
    assert [row["state"] for row in states] == ["queued", "uploading"]


def test_a_batch_whose_commit_is_not_answered_is_not_written_twice(client, wire, place, caller, monkeypatch, workers):
    """The line is cut before a batch, and between a batch and its answer."""
    line = wire(place.database_url)
    monkeypatch.setattr(importing, "BATCH", 10)
    ident = client.post("/contacts/imports", content=FILE, headers=CSV).json()["id"]
    plain = ImportWork.write
    batches = 0

    async def write(self, *arguments):
        nonlocal batches
        batches += 1
        if batches == 2:
            line.cut()
        if batches == 3:
            await plain(self, *arguments)
            line.cut()
            raise DatabaseDown("the answer did not come")
        return await plain(self, *arguments)

    monkeypatch.setattr(ImportWork, "write", write)
    over_the_line = Workers(place, line.url)
    [order] = workers.orders()
    for _ in range(2):
        with pytest.raises(DatabaseDown):
            over_the_line.carry_out(order)
        line.mend()
    assert over_the_line.carry_out(order) == "60 rows, 0 failed"
    counts = client.get(f"/contacts/imports/{ident}").json()["counts"]
    assert counts == {"total": 60, "created": 60, "updated": 0, "skipped": 0, "failed": 0}
    [row] = place.sql("SELECT count(*) FROM contacts WHERE tenant = $1", caller.tenant)
    assert row["count"] == 60


def test_a_report_that_is_cut_short_is_seen_to_be_so(start, wire, place, caller, workers, monkeypatch):
    line = wire(place.database_url)
    server = start(database_url=line.url)
    with server.client(caller.token) as client:
        file = b"email\n" + b"nobody\n" * 1_200
        ident = client.post("/contacts/imports", content=file, headers=CSV).json()["id"]
        workers.settle()
        plain = Imports.failures

        async def failures(self, *arguments):
            async for rows in plain(self, *arguments):
                yield rows
                line.cut()

        monkeypatch.setattr(Imports, "failures", failures)
        with pytest.raises(Exception, match="incomplete chunked read"):
            client.get(f"/contacts/imports/{ident}/errors")
        line.mend()
