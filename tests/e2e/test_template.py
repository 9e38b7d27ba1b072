"""Mail with a template, from the official SDK to the sink."""

import email.policy
from email.message import EmailMessage

import pytest
import resend

from mailwarren.devstack.harness.system import System

pytestmark = pytest.mark.e2e

MJML = (
    "<mjml><mj-body><mj-section><mj-column><mj-text>Dear {{{NAME}}}: {{ PRICE }}"
    "{% for row in rows %}{% for again in rows %}{{ row }}{% endfor %}{% endfor %}"
    "</mj-text></mj-column></mj-section></mj-body></mjml>"
)
VARIABLES: list[resend.Variable] = [
    {"key": "NAME", "type": "string", "fallback_value": "<you>"},
    {"key": "PRICE", "type": "number", "fallback_value": 7},
]


def received(system: System, address: str) -> EmailMessage:
    """The one mail that the sink got for an address."""
    assert system.sink
    (mail,) = system.sink.messages(to=address)
    return email.message_from_bytes(system.sink.raw(mail["n"]), EmailMessage, policy=email.policy.default)


def test_it_comes_with_its_fallbacks_and_one_that_runs_away_fails_alone(
    system: System, monkeypatch: pytest.MonkeyPatch
) -> None:
    system.start_all(senders=1)
    assert system.api
    monkeypatch.setattr(resend, "api_url", str(system.api.base_url).rstrip("/"))
    monkeypatch.setattr(resend, "api_key", system.api.headers["Authorization"].removeprefix("Bearer "))
    resend.Templates.create({
        "name": "Offer", "alias": "offer", "from": "Shop <shop@sender.test>", "subject": "For {{{NAME}}}",
        "html": MJML, "text": "Dear {{{NAME}}}: {{ PRICE }}", "variables": VARIABLES,
    })  # fmt: skip
    resend.Templates.publish("offer")

    def send(to: str, **variables: object) -> str:
        mail = {"to": to, "template": {"id": "offer", "variables": {"rows": [], **variables}}}
        return str(resend.Emails.send(mail)["id"])  # type: ignore[arg-type]  # lists are ours

    plain = send("plain@one.test")
    given = send("given@two.test", NAME="Ada & Bo", PRICE=2.5)
    heavy = send("heavy@three.test", rows=["x" * 1000] * 30)
    after = send("after@three.test")
    promises = [
        system.promise(plain, "plain@one.test"),
        system.promise(given, "given@two.test"),
        system.promise(heavy, "heavy@three.test"),
        system.promise(after, "after@three.test"),
    ]
    found = system.settle(promises, timeout=60)
    assert found.balanced, str(found)
    states = {address: state for (_, address), state in system.states(promises).items()}
    assert states.pop("heavy@three.test") == "failed"
    assert set(states.values()) == {"delivered"}
    event = system.api.get(f"/emails/{heavy}/timeline").json()["data"][-1]
    assert "longer than 655360 bytes" in str(event)

    mail = received(system, "plain@one.test")
    assert (mail["From"], mail["Subject"]) == ("Shop <shop@sender.test>", "For <you>")
    html, text = (mail.get_body((kind,)) for kind in ("html", "plain"))
    assert html and "Dear &lt;you&gt;: 7</div>" in html.get_content()
    assert text and text.get_content().strip() == "Dear <you>: 7"
    mail = received(system, "given@two.test")
    assert mail["Subject"] == "For Ada & Bo"
    html = mail.get_body(("html",))
    assert html and "Dear Ada &amp; Bo: 2.5</div>" in html.get_content()
    shown = system.api.get(f"/emails/{given}").json()
    assert (shown["subject"], shown["last_event"]) == ("For Ada & Bo", "delivered")
    assert "Dear Ada &amp; Bo: 2.5</div>" in shown["html"]
