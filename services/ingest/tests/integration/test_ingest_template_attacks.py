"""Templates that would loop, grow or get out, over HTTP: refused or ended with the reason, and nobody waits for it."""

import threading
import time

import pytest

BOUNDED = 3.0
"""Seconds within which each call is answered, on a machine that does other things too."""


def make(client, **fields):
    body = {"name": "n", "from": "ada@sender.test", "subject": "S"} | fields
    begin = time.monotonic()
    answer = client.post("/templates", json=body)
    assert time.monotonic() - begin < BOUNDED
    return answer


def loops(count, inside=""):
    return "".join(f"{{% for a{n} in range(1000) %}}" for n in range(count)) + inside + "{% endfor %}" * count


@pytest.mark.parametrize(
    ("html", "words"),
    [
        ("{% for x in x recursive %}{{ loop(x) }}{% endfor %}", "recursive"),
        ("{% macro m() %}{{ m() }}{% endmacro %}{{ m() }}", "no macro"),
        ("{% include 'x' %}", "include"),
        ("{% import 'x' as x %}", "import"),
        ("{% extends 'x' %}", "extends"),
        ("{{ lipsum.__globals__ | attr('os') }}", "no filter named 'attr'"),
        ("{{ self.__init__ }}", "not part of mail templates"),
        ("{{ [a][0:2:0] | map('upper', *b) | list }}", "written out"),
        (loops(25), "nested too deeply"),
        ("{{ " + "(" * 2000 + "1" + ")" * 2000 + " }}", "nested too deeply"),
        ("{{ a }}" * 6000, "5000 tokens"),
        ("{#" * 250_000, "comment"),
        ("{{{" * 170_000, "line 1"),
    ],
)
def test_what_can_be_seen_before_it_runs_is_refused_when_it_is_made(client, html, words):
    answer = make(client, html=html)
    assert answer.status_code == 422
    assert words in answer.json()["message"]


def test_a_megabyte_of_source(client):
    answer = make(client, html="x" * 1_000_000)
    assert (answer.status_code, "1000000 bytes" in answer.json()["message"]) == (422, True)
    answer = make(client, html="<mjml><mj-body>" + "<mj-raw>x</mj-raw>" * 60_000 + "</mj-body></mjml>")
    assert answer.status_code == 422
    answer = make(client, html="x" * 6_000_000)
    assert answer.status_code == 413


@pytest.mark.parametrize(
    ("html", "words"),
    [
        (loops(3), "too much work"),
        (loops(2, "{{ a0 * a1 }}"), "too much work"),
        ("{% for i in range(100000) %}{% endfor %}", "range() over more than 1000"),
        ("{% for i in range(n) %}{% endfor %}", "range() over more than 1000"),
        ("{{ 'x' * n }}", "longer than"),
        ("{{ 9 ** n }}", "number is too large"),
        ("{% set a = 'x' * 1000 %}{% for i in range(1000) %}{{ a }}{% endfor %}", "longer than 655360 bytes"),
        ("{{ ''.__class__ }}", "__class__"),
        ("{{ s.__class__.__mro__ }}", "__class__"),
        ("{{ s.format }}", "format"),
        ("{{ ()|sort(attribute='__class__') }}{{ d.__getitem__ }}", "__getitem__"),
    ],
)
def test_what_shows_only_when_it_runs_ends_with_the_reason(client, html, words):
    answer = make(client, html=html)
    if answer.status_code == 201:
        begin = time.monotonic()
        path = f"/templates/{answer.json()['id']}/preview"
        answer = client.post(path, json={"variables": {"n": 10**8, "s": "x", "d": {}}})
        assert time.monotonic() - begin < BOUNDED
    assert (answer.status_code, words in answer.json()["message"]) == (422, True), answer.json()


def test_a_subject_that_loops_is_refused_and_the_mail_with_it(client, queues):
    ident = make(client, html="x", subject=loops(2, "{{ a0 }}")).json()["id"]
    client.post(f"/templates/{ident}/publish")
    mail = {"to": "bob@example.test", "template": {"id": ident}}
    for path, body in (("/emails", mail), ("/emails/batch", [mail] * 100)):
        begin = time.monotonic()
        answer = client.post(path, json=body)
        assert (answer.status_code, "too much work" in answer.json()["message"]) == (422, True)
        assert time.monotonic() - begin < BOUNDED
    assert queues.parcels() == []


def test_variables_that_are_nested_deeply_are_refused(client, queues):
    ident = make(client, html="{{ a }}").json()["id"]
    client.post(f"/templates/{ident}/publish")
    deep = 0
    for _ in range(20):
        deep = [deep]
    answer = client.post("/emails", json={"to": "b@example.test", "template": {"id": ident, "variables": {"a": deep}}})
    assert (answer.status_code, "nested deeper than 16" in answer.json()["message"]) == (422, True)
    assert queues.parcels() == []


def test_styles_that_take_minutes_hold_no_mail_up(client, server, caller, mail, queues):
    rules = "".join(f"*{{color{number}:red}}" for number in range(2000))
    heavy = {"name": "heavy", "html": f"<style>{rules}</style>" + "<p>x</p>" * 2000, "inline_css": True}
    answers = []
    working = threading.Thread(target=lambda: answers.append(client.post("/templates", json=heavy)))
    working.start()
    slowest = 0.0
    with server.client(caller.token) as other:
        while working.is_alive():
            begin = time.monotonic()
            assert other.post("/emails", json=mail).status_code == 200
            slowest = max(slowest, time.monotonic() - begin)
    working.join()
    assert (answers[0].status_code, "too large" in answers[0].json()["message"]) == (422, True)
    assert slowest < 1


def test_mjml_over_http(client, queues):
    text = "<mj-section><mj-column><mj-text>Hi {{{NAME}}}</mj-text></mj-column></mj-section>"
    source = f"<mjml><mj-body>{text}</mj-body></mjml>"
    made = make(client, mjml=source)
    assert made.status_code == 201, made.json()
    shown = client.get(f"/templates/{made.json()['id']}").json()
    assert (shown["mjml"], shown["html"][:15], shown["required"]) == (source, "<!doctype html>", ["NAME"])
    shown = client.post(f"/templates/{made.json()['id']}/preview", json={"variables": {"NAME": "<Bo>"}}).json()
    assert "Hi &lt;Bo&gt;</div>" in shown["html"]
    assert make(client, html=f"  {source}", inline_css=True).status_code == 201, "html may be MJML"
    for wrong, words in (
        (source.replace("mj-text", "mj-txt"), "there is no <mj-txt> in MJML"),
        ("<mjml>\n<mj-body>\n" + "<mj-wrapper>" * 5000, "line 3: elements are nested deeper"),
        (
            "<mjml>\n<mj-body>\n<mj-include path='/etc/passwd' /></mj-body></mjml>",
            "line 3: <mj-include> is not available",
        ),
        (f"<mjml>\n{{{{ a }}}}\n{{% if %}}{source}", "line 3"),
    ):
        answer = make(client, mjml=wrong)
        assert answer.status_code == 422
        assert words in answer.json()["message"], answer.json()["message"]
        assert "`mjml` field" in answer.json()["message"]


def test_css_over_http(client):
    source = "<style>p{color:red}</style>{% if a %}<p>{{ a }}</p>{% endif %}"
    made = make(client, html=source, inline_css=True)
    ident = made.json()["id"]
    assert client.get(f"/templates/{ident}").json()["html"] == source, "what the author wrote"
    shown = client.post(f"/templates/{ident}/preview", json={"variables": {"a": 1}}).json()
    assert '<p style="color: red;">1</p>' in shown["html"]
    client.patch(f"/templates/{ident}", json={"inline_css": False})
    shown = client.post(f"/templates/{ident}/preview", json={"variables": {"a": 1}}).json()
    assert shown["html"] == "<style>p{color:red}</style><p>1</p>"
