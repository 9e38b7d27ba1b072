"""Forms with a file, in whatever pieces they come."""

import httpx
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mailwarren.ingest.api.form import Form, boundary_of, charset_of
from mailwarren.ingest.domain.refusal import Refusal
from mailwarren.ingest.intake import CHUNK, Intake


def encoded(file: bytes, fields: dict[str, str], name: str = "people.csv") -> tuple[bytes, bytes]:
    """A form as a client sends it, and its boundary."""
    request = httpx.Request("POST", "http://x", files={"file": (name, file, "text/csv")}, data=fields)
    boundary = boundary_of(request.headers["content-type"])
    assert boundary
    return request.read(), boundary


def through(form: Form, body: bytes, step: int) -> bytes:
    return b"".join(b"".join(form.feed(body[at : at + step])) for at in range(0, len(body), step))


@given(st.binary(max_size=400), st.integers(1, 60))
def test_a_file_comes_out_as_it_went_in(file: bytes, step: int) -> None:
    body, boundary = encoded(file, {"on_conflict": "upsert", "column_map": '{"email": "Ä"}'}, "lüste.csv")
    form = Form(boundary, 1000)
    assert through(form, body, step) == file
    assert form.ended
    assert form.fields == {"on_conflict": "upsert", "column_map": '{"email": "Ä"}'}


def test_what_looks_like_a_boundary_belongs_to_the_file() -> None:
    file = b"\r\n--\r\n--x\r\r\n-"
    body, boundary = encoded(file * 50, {})
    for step in (1, 3, len(body)):
        assert through(Form(boundary, 1000), body, step) == file * 50


def test_the_name_and_the_encoding_of_the_file() -> None:
    body = (
        b'--b\r\nContent-Disposition: form-data; name="file"; filename="x; y.csv"\r\n'
        b"Content-Type: text/csv; charset=windows-1252\r\n\r\na\r\n--b--\r\n"
    )
    form = Form(b"b", 1000)
    assert through(form, body, 5) == b"a"
    assert (form.filename, form.charset) == ("x; y.csv", "windows-1252")
    assert charset_of("text/csv") is None


@pytest.mark.parametrize(
    ("body", "status"),
    [
        (b"no form at all", 400),
        (b'--b\r\nContent-Disposition: form-data; name="x"\r\n\r\n' + b"y" * 2000, 422),
        (b'--b\r\nContent-Disposition: form-data; name="x"\r\n\r\n1\r\n' * 2, 422),
        (b'--b\r\nContent-Disposition: form-data; name="file"\r\n\r\n1\r\n' * 2, 422),
        (b"".join(b'--b\r\nContent-Disposition: form-data; name="%d"\r\n\r\n1\r\n' % n for n in range(30)), 422),
        (b"--b\r\n" + b"x" * 100_000, 400),
    ],
)
def test_forms_that_cannot_be_are_refused(body: bytes, status: int) -> None:
    with pytest.raises(Refusal) as caught:
        through(Form(b"b", 1000), body, 50)
    assert caught.value.status == status


def test_a_form_that_ends_too_early_has_not_ended() -> None:
    body, boundary = encoded(b"a,b\n", {})
    form = Form(boundary, 1000)
    through(form, body[:-6], 10)
    assert not form.ended
    assert boundary_of("text/csv; charset=utf-8") is boundary_of(None) is None
    with pytest.raises(Refusal, match="no boundary"):
        boundary_of("multipart/form-data")


@pytest.mark.parametrize("block", [1_000, 65_536, 3 * CHUNK])
async def test_a_file_is_put_away_in_pieces_that_follow_each_other(block: int) -> None:
    kept: list[tuple[int, bytes]] = []

    async def keep(starts: int, data: bytes) -> None:
        kept.append((starts, data))

    text = "zoe@example.org,Zoë\n".encode() * 40_000
    intake = Intake(None, keep)
    for at in range(0, len(text), block):
        await intake.take(text[at : at + block])
        assert len(intake._filling) < CHUNK
    await intake.end()
    assert b"".join(data for _, data in kept) == text
    assert [starts for starts, _ in kept] == [sum(len(data) for _, data in kept[:n]) for n in range(len(kept))]
    assert (intake.size, intake.head, intake.whole) == (len(text), kept[0][1], False)


async def test_a_preview_keeps_the_beginning_only() -> None:
    intake = Intake(None, None)
    for _ in range(100):
        await intake.take(b"bob@example.org\n" * 4096)
    await intake.end()
    assert CHUNK <= len(intake.head) < CHUNK + 65_536 * 2
    assert not intake.whole
    short = Intake(None, None)
    await short.take(b"email\nbob@example.org\n")
    await short.end()
    assert (short.whole, short.head) == (True, b"email\nbob@example.org\n")
