import stat
import subprocess
from pathlib import Path

from mailwarren.devstack.env_file import read_env, variables, write_env
from mailwarren.devstack.state import LocalDir
from mailwarren.devstack.system import Addresses

AT = Addresses(
    amqp_url="amqp://user:it's$HOME@127.0.0.1:20001/mailwarren",
    amqp_prefix="",
    management_url=None,
    database_url="postgresql+asyncpg://user:secret@127.0.0.1:20002/mailwarren",
    smtp_url=None,
    retry_scale=1.0,
    api=20003,
    sink_smtp=20004,
    sink_http=20005,
    metrics={},
)


def test_the_file_has_the_lines_that_the_design_names(tmp_path: Path) -> None:
    local = LocalDir(tmp_path)

    write_env(local, AT, "re_key")

    assert read_env(local.env) == {
        "MAILWARREN_API_URL": "http://127.0.0.1:20003/v1",
        "MAILWARREN_API_KEY": "re_key",
        "MAILWARREN_SINK_URL": "http://127.0.0.1:20005",
        "MAILWARREN_SINK_SMTP": "127.0.0.1:20004",
        "MAILWARREN_AMQP_URL": AT.amqp_url,
        "MAILWARREN_DATABASE_URL": AT.database_url,
        "RESEND_API_URL": "http://127.0.0.1:20003/v1",
        "RESEND_BASE_URL": "http://127.0.0.1:20003/v1/",
        "RESEND_API_KEY": "re_key",
    }
    assert all(line.startswith("export ") for line in local.env.read_text().splitlines())
    assert stat.S_IMODE(local.env.stat().st_mode) == 0o600


def test_a_shell_reads_back_the_very_values(tmp_path: Path) -> None:
    local = LocalDir(tmp_path)
    write_env(local, AT, "re_key")

    for name, value in variables(AT, "re_key").items():
        script = f'. "$1" && printf %s "${name}"'
        said = subprocess.run(["sh", "-c", script, "sh", local.env], capture_output=True, text=True, check=True)
        assert said.stdout == value
