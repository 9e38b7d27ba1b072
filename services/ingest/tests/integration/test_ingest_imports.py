"""Imports of contacts through the official SDK and over plain HTTP, from the upload to the report."""

import csv
import io
import json
from collections.abc import Iterator

import httpx
import pytest
import resend
from import_runs import OURS, csv_of
from resend.contacts.imports._contact_import import ContactImport
from resend.contacts.imports._contact_imports import ContactImports
from sdk_shapes import check, refused

from mailwarren.contracts.ids import new_id

pytestmark = pytest.mark.usefixtures("sdk", "workers")

Imports, Contacts = resend.Contacts.Imports, resend.Contacts
FILE = csv_of(("email", "first_name"), ("ada@example.org", "Ada"), ("bob@example.org", "Bob"))
COUNTS = ("total", "created", "updated", "skipped", "failed")


def counts(ident: str) -> tuple[int, ...]:
    found = Imports.get(ident)["counts"]
    return tuple(found[name] for name in COUNTS)


def upload(client: httpx.Client, file: bytes, **query: str) -> httpx.Response:
    return client.post("/contacts/imports", content=file, params=query, headers={"content-type": "text/csv"})


def report(client: httpx.Client, ident: str) -> list[list[str]]:
    answer = client.get(f"/contacts/imports/{ident}/errors")
    assert answer.headers["content-type"] == "text/csv; charset=utf-8"
    assert "attachment" in answer.headers["content-disposition"]
    return list(csv.reader(io.StringIO(answer.content.decode("utf-8-sig"), newline="")))


async def test_an_import_from_upload_to_contacts(workers):
    resend.ContactProperties.create({"key": "plan", "type": "string"})
    segment = resend.Segments.create({"name": "Customers"})
    topic = resend.Topics.create({"name": "News", "default_subscription": "opt_in"})
    file = (
        "E-Mail;Given;Plan;Note\n"
        'Ada@Example.org;Ada;"gold; yearly";x\n'
        "zoe@example.org;Zoë;;y\n"
        "ADA@example.org;Augusta;;z\n"
        "nobody;No;;z\n"
    ).encode()
    made = Imports.create(
        {
            "file": file,
            "filename": "people.csv",
            "column_map": {"email": "E-Mail", "first_name": "Given", "properties": {"plan": {"column": "Plan"}}},
            "on_conflict": "upsert",
            "segments": [{"id": segment["id"]}],
            "topics": [{"id": topic["id"], "subscription": "opt_out"}],
        }
    )
    check(made, ContactImports.CreateContactImportResponse)
    waiting = Imports.get(made["id"])
    check(waiting, ContactImport, ours=OURS)
    assert (waiting["status"], waiting["completed_at"], waiting["filename"]) == ("queued", None, "people.csv")
    assert workers.settle() == ["4 rows, 1 failed"]
    done = await Imports.get_async(made["id"])
    check(done, ContactImport, ours=OURS)
    assert (done["status"], done["percent"], done["error"]) == ("completed", 100, None)
    assert counts(made["id"]) == (4, 2, 1, 0, 1)
    assert done["completed_at"] > done["created_at"]
    ada = Contacts.get(email="ada@example.org")
    assert (ada["email"], ada["first_name"], ada["unsubscribed"]) == ("Ada@Example.org", "Augusta", False)
    assert ada["properties"]["plan"]["value"] == "gold; yearly"
    assert Contacts.get(email="zoe@example.org")["properties"] == {}
    members = Contacts.list(segment_id=segment["id"])
    assert {row["email"] for row in members["data"]} == {"Ada@Example.org", "zoe@example.org"}
    [choice] = Contacts.Topics.list(contact_id=ada["id"])["data"]
    assert choice["subscription"] == "opt_out"


async def test_who_is_there_is_left_alone_unless_the_caller_says_upsert(workers):
    segment = resend.Segments.create({"name": "All"})
    Contacts.create({"email": "Ada@example.org", "first_name": "Countess"})
    made = await Imports.create_async({"file": FILE, "segments": [{"id": segment["id"]}]})
    check(made, ContactImports.CreateContactImportResponse)
    workers.settle()
    assert counts(made["id"]) == (2, 1, 0, 1, 0)
    assert Contacts.get(email="ada@example.org")["first_name"] == "Countess"
    assert [row["email"] for row in Contacts.list(segment_id=segment["id"])["data"]] == ["bob@example.org"]
    again = Imports.create({"file": FILE, "on_conflict": "upsert", "segments": [{"id": segment["id"]}]})
    workers.settle()
    assert counts(again["id"]) == (2, 0, 2, 0, 0)
    assert Contacts.get(email="ada@example.org")["first_name"] == "Ada"
    assert len(Contacts.list(segment_id=segment["id"])["data"]) == 2


async def test_lists_are_pages_by_status(workers):
    first = Imports.create({"file": FILE})["id"]
    workers.settle()
    second = Imports.create({"file": FILE})["id"]
    third = (await Imports.create_async({"file": FILE}))["id"]
    check(Imports.list(), ContactImports.ListContactImportsResponse, ours={f"data.{name}" for name in OURS})
    assert [row["id"] for row in Imports.list()["data"]] == [third, second, first]
    page = await Imports.list_async({"limit": 1, "after": third})
    assert ([row["id"] for row in page["data"]], page["has_more"]) == ([second], True)
    assert [row["id"] for row in Imports.list({"status": "queued", "before": second})["data"]] == [third]
    assert [row["id"] for row in Imports.list({"status": "completed"})["data"]] == [first]
    assert Imports.list({"status": "failed"})["data"] == []
    assert refused(Imports.list, {"status": "done"})[0] == 422


def test_rows_that_fail_come_back_as_a_file_that_can_be_mended(workers, client):
    resend.ContactProperties.create({"key": "phone", "type": "string"})
    file = csv_of(
        ("email", "first_name", "phone"),
        ("=cmd@example.org", "fine", "+49 30 1"),
        ("no address", "=HYPERLINK(1)", "+49 30 2"),
        ("ragged@example.org",),
        ("carol@example.org", "x" * 300, "3"),
        ("", "", ""),
        ("CAROL@example.org", "Carol", "4"),
        ("carol@EXAMPLE.org", "Carola", "5"),
    )
    made = Imports.create({"file": file})
    workers.settle()
    assert counts(made["id"]) == (6, 2, 0, 1, 3)
    assert Contacts.get(email="carol@example.org")["first_name"] == "Carol"
    assert Contacts.get(email="=cmd@example.org")["properties"]["phone"]["value"] == "+49 30 1"
    head, first, ragged, long = report(client, made["id"])
    assert head == ["import_row", "import_line", "import_error", "email", "first_name", "phone"]
    assert first[:2] == ["2", "3"]
    assert first[3:] == ["no address", "'=HYPERLINK(1)", "'+49 30 2"]
    assert first[2].startswith("`email` is no address")
    assert ragged == ["3", "4", "The row has 1 cells, the first line names 3 columns.", "ragged@example.org"]
    assert "300 characters" in long[2]
    mended = io.StringIO()
    csv.writer(mended).writerows([head, [*first[:3], "dan@example.org", *first[4:]]])
    again = Imports.create({"file": mended.getvalue().encode()})
    workers.settle()
    assert counts(again["id"]) == (1, 1, 0, 0, 0)
    dan = Contacts.get(email="dan@example.org")
    assert (dan["first_name"], dan["properties"]["phone"]["value"]) == ("=HYPERLINK(1)", "+49 30 2")


def test_a_property_that_is_mapped_with_a_type_is_declared(workers, client):
    columns = {"email": "e", "properties": {"seats": {"column": "s", "type": "number", "fallback_value": 1}}}
    made = Imports.create({"file": b"e,s\nada@example.org,7\nbob@example.org,many\n", "column_map": columns})
    workers.settle()
    assert counts(made["id"]) == (2, 1, 0, 0, 1)
    assert Contacts.get(email="ada@example.org")["properties"]["seats"] == {"value": 7, "type": "number"}
    [seats] = resend.ContactProperties.list()["data"]
    assert (seats["key"], seats["type"], seats["fallback_value"]) == ("seats", "number", 1)
    wrong = columns | {"properties": {"seats": {"column": "s", "type": "string"}}}
    again = {"file": b"e,s\nada@example.org,7\n", "column_map": wrong}
    assert "declared as number" in refused(Imports.create, again)[1]


@pytest.mark.parametrize(
    ("codec", "query"),
    [("utf-8-sig", {}), ("utf-16", {}), ("cp1252", {"encoding": "windows-1252"}), ("cp932", {"encoding": "shift_jis"})],
)
def test_files_of_other_encodings(workers, client, codec: str, query: dict[str, str]):
    name = "花子" if codec == "cp932" else "Zoë"
    file = f"email\tfirst name\r\nzoe@example.org\t{name}\r\n".encode(codec)
    made = upload(client, file, filename="zoë.csv", **query)
    assert made.status_code == 201, made.text
    workers.settle()
    assert Contacts.get(email="zoe@example.org")["first_name"] == name
    assert Imports.get(made.json()["id"])["filename"] == "zoë.csv"


def test_the_media_type_may_name_the_encoding(workers, client):
    file = "email,first_name\nzoe@example.org,Zoë\n".encode("latin-1")
    headers = {"content-type": "text/csv; charset=ISO-8859-1"}
    assert client.post("/contacts/imports", content=file, headers=headers).status_code == 201
    form = {"file": ("x.csv", file, "text/csv; charset=latin1")}
    assert client.post("/contacts/imports", files=form).status_code == 201
    assert workers.settle() == ["1 rows, 0 failed"] * 2
    long = FILE + b"x@example.org,x\n" * 60_000
    late = client.build_request("POST", "/contacts/imports", files=[("file", ("x.csv", long))])
    boundary = late.headers["content-type"].partition("boundary=")[2].encode()
    part = b'Content-Disposition: form-data; name="encoding"\r\n\r\nwindows-1252\r\n--' + boundary + b"--\r\n"
    body = late.read().replace(b"--" + boundary + b"--\r\n", b"--" + boundary + b"\r\n" + part)
    answer = client.post("/contacts/imports", content=body, headers={"content-type": late.headers["content-type"]})
    assert (answer.status_code, "before the file" in answer.json()["message"]) == (422, True)


BAD: dict[str, tuple[bytes, dict[str, str], int, str]] = {
    "nothing": (b"", {}, 422, "has no rows"),
    "only the columns": (b"email,name\r\n", {}, 422, "has no rows"),
    "only empty lines": (b"email\n\n\n,\n", {}, 422, "has no rows"),
    "another encoding": ("email\nzoë@example.org\n".encode("latin-1"), {}, 422, "Save it as UTF-8"),
    "not what it is told to be": (b"\xef\xbb\xbf" + FILE, {"encoding": "cp1252"}, 422, "leave `encoding` out"),
    "an unknown encoding": (FILE, {"encoding": "rot13"}, 422, "`encoding` field"),
    "a workbook": (b"PK\x03\x04" + b"\x00" * 100, {}, 422, "Excel"),
    "octets": (b"email\n\x00\x01\x02\n", {}, 422, "NUL character"),
    "no names of columns": (b"ada@example.org,Ada\nbob@example.org,Bob\n", {}, 422, "looks like a contact"),
    "no addresses": (b"name\nAda\n", {}, 422, "no column is named like an email address"),
    "a line without end": (b"email\n" + b"x" * 1_100_000, {}, 422, "Line 2 does not end within 1 MB"),
    "a column that is not there": (FILE, {"column_map": '{"email": "Mail"}'}, 422, "there is no column `Mail`"),
    "a property that is not there": (FILE, {"column_map": '{"email":"email","p":"first_name"}'}, 422, "declare"),
    "a map that is none": (FILE, {"column_map": "email"}, 422, "`column_map` field"),
    "on_conflict": (FILE, {"on_conflict": "merge"}, 422, "`upsert` or `skip`"),
    "a segment that is not there": (FILE, {"segments": json.dumps([{"id": str(new_id())}])}, 404, "no segment"),
    "a topic that is not there": (
        FILE, {"topics": json.dumps([{"id": str(new_id()), "subscription": "opt_in"}])}, 404, "no topic",
    ),
    "an unknown field": (FILE, {"audience": "x"}, 422, "Unknown `audience` field"),
    "a delimiter": (FILE, {"delimiter": "#"}, 422, "`delimiter` field"),
    "too many columns": (b",".join([b"email"] * 501) + b"\n1\n", {}, 422, "501 columns"),
}  # fmt: skip


@pytest.mark.parametrize("case", sorted(BAD))
def test_bad_uploads_are_refused_and_nothing_of_them_is_kept(place, client, case: str):
    file, fields, status, said = BAD[case]
    as_form = client.post("/contacts/imports", files={"file": ("x.csv", file, "text/csv")}, data=fields)
    for answer in (upload(client, file, **fields), as_form):
        assert (answer.status_code, answer.json()["statusCode"]) == (status, status), answer.text
        assert said in answer.json()["message"]
    kept = "SELECT (SELECT count(*) FROM contact_imports) + (SELECT count(*) FROM contact_import_chunks)"
    assert place.sql(kept)[0][0] == 0


def test_bodies_that_are_no_file_are_refused(place, client):
    for headers, body in (
        ({"content-type": "application/json"}, b"{}"),
        ({}, FILE),
        ({"content-type": "multipart/form-data"}, FILE),
        ({"content-type": "multipart/form-data; boundary=x"}, FILE),
        ({"content-type": "multipart/form-data; boundary=x"}, b"--x--\r\n"),
    ):
        answer = client.post("/contacts/imports", content=body, headers=headers)
        assert answer.status_code in {400, 422}, answer.text
    assert "Missing `file` field" in answer.json()["message"]
    cut = b'--x\r\nContent-Disposition: form-data; name="file"; filename="a.csv"\r\n\r\nemail\nada@example.org\n'
    answer = client.post("/contacts/imports", content=cut, headers={"content-type": "multipart/form-data; boundary=x"})
    assert (answer.status_code, answer.json()["message"]) == (400, "The form ends too early.")
    assert place.sql("SELECT id FROM contact_imports") == []


def test_a_file_beyond_the_limit_is_refused(start, caller, place):
    server = start(max_import=4096)
    with server.client(caller.token) as client:
        fits = FILE + b"x@example.org,x\n" * ((4096 - len(FILE)) // 16)
        assert upload(client, fits).status_code == 201
        answer = upload(client, fits + b"y" * 4096)
        assert (answer.status_code, "larger than 4096 bytes" in answer.json()["message"]) == (413, True)
    [kept] = place.sql("SELECT size FROM contact_imports")
    assert kept["size"] == len(fits)


def test_a_stream_without_end_is_cut_off_after_a_megabyte(client, place):
    sent = 0

    def endless() -> Iterator[bytes]:
        nonlocal sent
        yield b"email\n"
        while sent < 64_000_000:
            sent += 65_536
            yield b"x" * 65_536

    # The answer comes at once; a client that goes on sending finds the connection closed, some of them before it.
    try:
        answer = upload(client, endless())  # type: ignore[arg-type]
    except httpx.TransportError:
        pass
    else:
        assert (answer.status_code, "within 1 MB" in answer.json()["message"]) == (422, True)
    assert sent < 32_000_000
    assert place.sql("SELECT 1 FROM contact_imports") == []


def test_a_preview_says_what_would_be_made_of_a_file(client, place):
    resend.ContactProperties.create({"key": "plan", "type": "number"})
    file = "Name;E-Mail;Plan;Notes\nZoë;zoe@example.org;3;x\nBob;bob;3;x\n".encode("cp1252")
    form = {"file": ("people.csv", file, "text/csv")}
    answer = client.post("/contacts/imports/preview", files=form, data={"encoding": "windows-1252"})
    assert answer.status_code == 200, answer.text
    found = answer.json()
    assert found["columns"] == [
        {"name": "Name", "field": None}, {"name": "E-Mail", "field": "email"},
        {"name": "Plan", "field": "properties.plan"}, {"name": "Notes", "field": None},
    ]  # fmt: skip
    assert (found["encoding"], found["delimiter"], found["filename"]) == ("windows-1252", ";", "people.csv")
    assert [(row["line"], row["error"] is None) for row in found["rows"]] == [(2, True), (3, False)]
    assert found["rows"][0]["cells"][0] == "Zoë"
    assert found["error"] is None
    mapped = client.post(
        "/contacts/imports/preview", content=file, headers={"content-type": "text/csv"},
        params={"encoding": "windows-1252", "column_map": '{"email": "E-Mail", "first_name": "Name"}'},
    )  # fmt: skip
    assert [column["field"] for column in mapped.json()["columns"]] == ["first_name", "email", None, None]
    unclear = client.post("/contacts/imports/preview", content=b"a,b\n1,2\n", headers={"content-type": "text/csv"})
    assert unclear.status_code == 200
    assert "no column is named like an email address" in unclear.json()["error"]
    assert unclear.json()["rows"] == [{"line": 2, "cells": ["1", "2"], "error": None}]
    assert place.sql("SELECT 1 FROM contact_imports") == []
    assert Contacts.list()["data"] == []


def test_a_preview_of_a_long_file_looks_at_its_beginning(client):
    file = b"email\n" + b"ada@example.org\n" * 100_000 + b"\xff\xfe"
    answer = client.post("/contacts/imports/preview", content=file, headers={"content-type": "text/csv"})
    assert (answer.status_code, len(answer.json()["rows"])) == (200, 20)


def test_a_canceled_import_makes_no_contacts(workers, client):
    made = Imports.create({"file": FILE})["id"]
    answer = client.post(f"/contacts/imports/{made}/cancel")
    assert (answer.status_code, answer.json()["status"], answer.json()["error"]) == (200, "failed", "Canceled.")
    assert workers.settle() == []
    assert Contacts.list()["data"] == []
    again = client.post(f"/contacts/imports/{made}/cancel")
    assert (again.status_code, "has ended already" in again.json()["message"]) == (422, True)
    assert [row["id"] for row in Imports.list({"status": "failed"})["data"]] == [made]
    assert report(client, made) == [["import_row", "import_line", "import_error", "email", "first_name"]]


def test_imports_of_others_are_not_there(server, new_caller, workers):
    made = Imports.create({"file": FILE})["id"]
    with server.client(new_caller().token) as stranger:
        for method, path in (("GET", ""), ("GET", "/errors"), ("POST", "/cancel")):
            assert stranger.request(method, f"/contacts/imports/{made}{path}").status_code == 404
        assert stranger.get("/contacts/imports").json()["data"] == []
        assert stranger.get("/contacts/imports/preview").status_code == 422
    with server.client(new_caller(permission="sending_access").token) as sender:
        assert upload(sender, FILE).status_code == 401
    assert Imports.get(made)["status"] == "queued"


def test_a_report_of_many_rows_is_all_there(workers, client):
    file = b"email\n" + b"".join(b"no%d\n" % number for number in range(1_700))
    made = Imports.create({"file": file})["id"]
    workers.settle()
    rows = report(client, made)[1:]
    assert [row[0] for row in rows] == [str(number) for number in range(1, 1_701)]
    assert rows[-1][3] == "no1699"
