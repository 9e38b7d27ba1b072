"""`mailwarren setup` as a process, killed anywhere and run twice at once, against real servers."""

import json
import os
import secrets
import subprocess
import sys

import asyncpg
import httpx
import pytest

from mailwarren.devstack.databases import create_database, drop_database, run_apart, with_database
from mailwarren.devstack.harness.system import wait_for
from mailwarren.ingest.cli import main
from mailwarren.store.engine import dsn
from mailwarren.store.history import own_revisions

DRIVER = """
import pathlib, sys
from mailwarren.ingest.commands import cluster
cluster.ACCOUNT = pathlib.Path(sys.argv.pop(1))
from mailwarren.devstack.harness.system import wait_for
from mailwarren.ingest.cli import main
sys.exit(main(sys.argv[1:]))
"""


class Setup:
    """Runs the command in an environment of its own."""

    def __init__(self, env, account) -> None:
        self.env, self.account = env, account

    def start(self, *arguments, **env):
        command = [sys.executable, "-c", DRIVER, str(self.account), "setup", *arguments]
        pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
        return subprocess.Popen(command, env=self.env | env, **pipes)

    def run(self, *arguments, **env):
        child = self.start(*arguments, **env)
        out, error = child.communicate(timeout=60)
        return child.returncode, [json.loads(line) for line in out.splitlines()], error

    def rows(self, sql):
        async def fetch():
            connection = await asyncpg.connect(dsn(self.env["MAILWARREN_DATABASE_URL"]))
            try:
                return await connection.fetch(sql)
            finally:
                await connection.close()

        return run_apart(fetch())


@pytest.fixture
def setup(rabbitmq, amqp_prefix, postgres_server, kubernetes):
    name = f"mailwarren_test_{secrets.token_hex(6)}"
    create_database(postgres_server, name)
    env = {name: value for name, value in os.environ.items() if not name.startswith("MAILWARREN_")}
    yield Setup(
        env
        | {
            "MAILWARREN_AMQP_URL": rabbitmq.amqp_url,
            "MAILWARREN_AMQP_PREFIX": amqp_prefix,
            "MAILWARREN_DATABASE_URL": with_database(postgres_server, name),
            "MAILWARREN_RETRY_SCALE": "0.01",
            "MAILWARREN_API_URL": "http://mw-ingest.mail.svc:8080/v1",
        },
        kubernetes.account,
    )
    drop_database(postgres_server, name)


def whole(setup) -> list[str]:
    """What a finished setup left: the tenants' and keys' names, and the revision."""
    found = setup.rows("SELECT 'tenant ' || name FROM tenants UNION ALL SELECT 'key ' || name FROM api_keys")
    return sorted(row[0] for row in found) + [row[0] for row in setup.rows("SELECT version_num FROM alembic_version")]


WHOLE = ["key owner", "tenant default", own_revisions()[-1]]


def test_every_step_says_a_line_and_a_repeat_changes_nothing(setup, kubernetes) -> None:
    status, lines, error = setup.run("--owner-secret", "mw-owner", "--wait", "20")
    assert (status, error) == (0, "")
    assert {line["event"] for line in lines} == {"setup.step"}
    assert {line["status"] for line in lines} <= {"done", "skipped"}
    names = [line["step"] for line in lines]
    assert names == ["broker access", "topology", "migrations", "database access", "owner"]
    assert [line["status"] for line in lines] == ["skipped", "done", "done", "skipped", "done"]
    kept = dict(kubernetes.secrets["mw-owner"]["data"])
    assert sorted(kept) == ["api-key", "api-url"]
    assert whole(setup) == WHOLE
    setup.rows("UPDATE api_keys SET deleted_at = now()")
    status, again, _ = setup.run("--owner-secret", "mw-owner", "--wait", "20")
    assert status == 0
    assert [line["step"] for line in again] == names
    assert [line["detail"] for line in again if line["step"] == "migrations"] == ["the database is up to date"]
    assert "delete the Secret to get another" in again[-1]["detail"], "a key that was deleted stays deleted"
    assert kubernetes.secrets["mw-owner"]["data"] == kept
    assert whole(setup) == WHOLE


def test_killed_anywhere_it_is_simply_run_again(setup, kubernetes) -> None:
    for after in ("topology", "migrations"):
        child = setup.start("--owner-secret", "mw-owner", "--wait", "20")
        for line in child.stdout:
            if json.loads(line)["step"] == after:
                break
        child.kill()
        child.communicate()
    # Between the Secret and the database: the token of the Secret is the one that gets installed.
    kubernetes.secrets.clear()
    child = setup.start("--owner-secret", "mw-owner", "--wait", "20")

    def kill() -> None:
        child.kill()
        child.wait(10)

    kubernetes.before_create = kill
    child.communicate(timeout=30)
    wait_for(lambda: "mw-owner" in kubernetes.secrets, 10, "the Secret")
    kubernetes.before_create = None
    assert child.returncode == -9
    kept = dict(kubernetes.secrets["mw-owner"]["data"])
    setup.rows("TRUNCATE api_keys, tenants")
    status, lines, _ = setup.run("--owner-secret", "mw-owner", "--wait", "20")
    assert status == 0
    assert lines[-1]["detail"].startswith("found Secret mw-owner")
    assert kubernetes.secrets["mw-owner"]["data"] == kept
    assert whole(setup) == WHOLE


def test_with_accounts_for_each_service(setup, rabbitmq) -> None:
    if rabbitmq.management_url is None:
        pytest.skip("the given broker has no management API")
    accounts = f"mw-test-{secrets.token_hex(4)}"
    passwords = {f"MAILWARREN_{service}_PASSWORD": secrets.token_hex(12) for service in ("INGEST", "SENDER", "TRACKER")}
    env = {"MAILWARREN_BROKER_ADMIN_URL": rabbitmq.management_url, "MAILWARREN_ACCOUNTS": accounts, **passwords}
    role = f"{accounts}-tracker".replace("-", "_")
    try:
        for _ in range(2):
            status, lines, error = setup.run("--wait", "20", **env)
            assert (status, error) == (0, "")
            assert [line["status"] for line in lines] == ["done", "done", "done", "done", "skipped"]
            assert not any(password in json.dumps(lines) for password in passwords.values())
        assert setup.rows(f"SELECT has_table_privilege('{role}', 'schema_history', 'SELECT')")[0][0]
    finally:
        with httpx.Client(base_url=f"{rabbitmq.management_url}/api") as api:
            for service in ("ingest", "sender", "tracker"):
                api.delete(f"/users/{accounts}-{service}")
        for service in ("ingest", "tracker"):
            name = f"{accounts}-{service}".replace("-", "_")
            setup.rows(f"DROP OWNED BY {name}")
            setup.rows(f"DROP ROLE {name}")


def test_two_at_once_end_alike(setup, kubernetes) -> None:
    children = [setup.start("--owner-secret", "mw-owner", "--wait", "30") for _ in range(2)]
    ends = [(child.communicate(timeout=60), child.returncode) for child in children]
    assert [status for _, status in ends] == [0, 0], ends
    assert whole(setup) == WHOLE


@pytest.mark.parametrize(
    ("env", "step", "says"),
    [
        ({"MAILWARREN_AMQP_URL": "amqp://u:hidden@127.0.0.1:1/v"}, "topology", "no broker at 127.0.0.1:1"),
        ({"MAILWARREN_DATABASE_URL": "postgresql://u:hidden@127.0.0.1:1/d"}, "migrations", "could not be migrated"),
        ({"KUBERNETES_SERVICE_HOST": ""}, "owner", "inside a Kubernetes cluster"),
    ],
)
def test_a_step_that_fails_is_named_with_its_reason(setup, monkeypatch, capsys, env, step, says) -> None:
    for name, value in (setup.env | env).items():
        monkeypatch.setenv(name, value)
    assert main(["setup", "--owner-secret", "mw-owner", "--wait", "0"]) == 1
    printed = capsys.readouterr()
    last = json.loads(printed.out.splitlines()[-1])
    assert (last["step"], last["status"]) == (step, "failed")
    assert says in last["reason"]
    assert printed.err.startswith(f"mailwarren: {step}: ")
    assert "hidden" not in printed.out + printed.err
