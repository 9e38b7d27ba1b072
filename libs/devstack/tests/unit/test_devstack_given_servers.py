from pathlib import Path

from mailwarren.devstack.databases import with_database
from mailwarren.devstack.servers import Given, _without_password
from mailwarren.devstack.state import LocalDir

AMQP = "amqp://me:abc123@10.0.0.1:5672/mail"
DATABASE = "postgresql://me:def456@10.0.0.1/mail"
ENVIRON = {"MAILWARREN_AMQP_URL": AMQP, "MAILWARREN_DATABASE_URL": DATABASE}


def test_servers_of_the_environment_are_used(tmp_path: Path) -> None:
    assert Given.from_environment(LocalDir(tmp_path), ENVIRON) == Given(AMQP, DATABASE)


def test_nothing_or_empty_means_private_servers(tmp_path: Path) -> None:
    assert Given.from_environment(LocalDir(tmp_path), {}) == Given(None, None)
    assert Given.from_environment(LocalDir(tmp_path), dict.fromkeys(ENVIRON, "")) == Given(None, None)


def test_a_sourced_env_file_does_not_make_the_private_servers_given_ones(tmp_path: Path) -> None:
    (tmp_path / "rabbitmq").mkdir()
    (tmp_path / "rabbitmq" / "broker.json").write_text('{"password": "abc123"}')

    assert Given.from_environment(LocalDir(tmp_path), ENVIRON) == Given(None, DATABASE)


def test_a_url_without_a_password_is_a_given_one(tmp_path: Path) -> None:
    (tmp_path / "rabbitmq").mkdir()
    (tmp_path / "rabbitmq" / "broker.json").write_text('{"password": "abc123"}')
    url = "amqp://10.0.0.1/mail"

    assert Given.from_environment(LocalDir(tmp_path), {"MAILWARREN_AMQP_URL": url}).amqp_url == url


def test_messages_show_no_password() -> None:
    assert _without_password(AMQP) == "amqp://10.0.0.1:5672/mail"


def test_another_database_keeps_the_options() -> None:
    assert with_database("postgresql+asyncpg://u:p@h:1/a?sslmode=require", "b") == (
        "postgresql+asyncpg://u:p@h:1/b?sslmode=require"
    )


def test_a_password_that_is_part_of_a_word_in_our_file_is_still_the_users(tmp_path: Path) -> None:
    memory = tmp_path / "rabbitmq" / "broker.json"
    memory.parent.mkdir()
    memory.write_text('{"user": "mailwarren", "password": "0a1b2c3d", "amqp": 25916}')
    url = "amqp://mail:mail@127.0.0.1:45672/mailwarren"
    assert Given.from_environment(LocalDir(tmp_path), {"MAILWARREN_AMQP_URL": url}).amqp_url == url
