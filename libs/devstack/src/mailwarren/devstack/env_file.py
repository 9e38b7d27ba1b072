"""``.local/env``: the addresses and keys of the running system, for shells, tests and SDKs."""

import shlex
from pathlib import Path

from mailwarren.devstack.state import LocalDir, write_private
from mailwarren.devstack.system import HOST, Addresses


def variables(at: Addresses, api_key: str) -> dict[str, str]:
    """The lines of the file, in order. There is no console yet, so there is no line for it."""
    return {
        "MAILWARREN_API_URL": at.api_url,
        "MAILWARREN_API_KEY": api_key,
        "MAILWARREN_SINK_URL": at.sink_url,
        "MAILWARREN_SINK_SMTP": f"{HOST}:{at.sink_smtp}",
        "MAILWARREN_AMQP_URL": at.amqp_url,
        "MAILWARREN_DATABASE_URL": at.database_url,
        "RESEND_API_URL": at.api_url,
        "RESEND_BASE_URL": f"{at.api_url}/",  # resend-ruby appends paths to it as they are
        "RESEND_API_KEY": api_key,
    }


def write_env(local: LocalDir, at: Addresses, api_key: str) -> None:
    """Writes the file, for its owner's eyes only."""
    lines = [f"export {name}={shlex.quote(value)}\n" for name, value in variables(at, api_key).items()]
    write_private(local.env, "".join(lines).encode())


def read_env(path: Path) -> dict[str, str]:
    """The variables of such a file."""
    found = {}
    for line in path.read_text().splitlines():
        name, separator, value = line.removeprefix("export ").partition("=")
        if separator:
            found[name] = "".join(shlex.split(value))
    return found
