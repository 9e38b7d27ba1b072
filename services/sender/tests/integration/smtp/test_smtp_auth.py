"""SMTP AUTH: which mechanism, when, and what a refusal looks like."""

import base64

import pytest

from mailwarren.sender.smtp import Auth, Command, Reply, TlsMode, Unreachable, UnreachableKind

USER, PASSWORD = "jürgen@example.org", "s3cret pass:word"
PLAIN = "AUTH PLAIN " + base64.b64encode(f"\0{USER}\0{PASSWORD}".encode()).decode()


@pytest.fixture
def auth() -> Auth:
    return Auth(USER, PASSWORD, plaintext=True)


async def test_auth_plain_is_preferred_and_done_once_per_connection(server, send, auth):
    target = await server(extensions=("AUTH LOGIN PLAIN",), answers={"AUTH": "235 2.7.0 welcome"})

    for _ in range(3):
        assert (await send(target, auth=auth)).outcome.code == 250
    assert target.commands.count(PLAIN) == 1
    assert target.commands[1] == PLAIN


async def test_auth_login_where_there_is_nothing_else(server, send, auth):
    user, password = (base64.b64encode(text.encode()).decode() for text in (USER, PASSWORD))
    target = await server(
        extensions=("AUTH=LOGIN",),
        answers={"AUTH": "334 VXNlcm5hbWU6", user.upper(): "334 UGFzc3dvcmQ6", password.upper(): "235 2.7.0 welcome"},
    )

    assert (await send(target, auth=auth)).outcome.code == 250
    assert target.commands[1:4] == ["AUTH LOGIN", user, password]


@pytest.mark.parametrize("code", [454, 535])
async def test_refused_credentials_are_the_servers_answer(server, send, auth, code):
    target = await server(extensions=("AUTH PLAIN",), answers={"AUTH": f"{code} {code // 100}.7.8 no"})

    result = await send(target, auth=auth)

    assert result.outcome == Reply(code, "no", f"{code // 100}.7.8", Command.AUTH)
    assert not any(command.startswith("MAIL") for command in target.commands)


async def test_login_refused_at_the_user_is_the_servers_answer(server, send, auth):
    target = await server(extensions=("AUTH LOGIN",), answers={"AUTH": "535 5.7.8 no"})

    assert (await send(target, auth=auth)).outcome == Reply(535, "no", "5.7.8", Command.AUTH)


async def test_credentials_never_go_over_a_plain_connection_unless_allowed(server, send):
    target = await server(extensions=("AUTH PLAIN LOGIN",))

    result = await send(target, auth=Auth(USER, PASSWORD), tls=TlsMode.OPPORTUNISTIC)

    assert isinstance(result.outcome, Unreachable)
    assert result.outcome.kind is UnreachableKind.TLS
    assert result.outcome.command is Command.AUTH
    assert PASSWORD not in repr(result)
    assert not any(command.startswith("AUTH") for command in target.commands)


async def test_credentials_go_over_tls(server, send, authority):
    target = await server(
        extensions=("AUTH PLAIN",), context=authority.context("localhost"), answers={"AUTH": "235 2.7.0 welcome"}
    )

    assert (await send(target, auth=Auth(USER, PASSWORD), tls=TlsMode.REQUIRED)).outcome.code == 250
    assert target.commands[1:4] == ["STARTTLS", "EHLO sender.example", PLAIN]


async def test_a_server_without_a_mechanism_of_ours_gets_no_mail(server, send, auth):
    target = await server(extensions=("AUTH GSSAPI",))

    result = await send(target, auth=auth)

    assert isinstance(result.outcome, Unreachable)
    assert result.outcome.kind is UnreachableKind.PROTOCOL
    assert not any(command.startswith(("AUTH", "MAIL")) for command in target.commands)


async def test_a_continuation_instead_of_a_verdict_is_not_a_success(server, send, auth):
    target = await server(extensions=("AUTH PLAIN",), answers={"AUTH": "334 more"})

    result = await send(target, auth=auth)

    assert isinstance(result.outcome, Unreachable)
    assert result.outcome.kind is UnreachableKind.PROTOCOL
