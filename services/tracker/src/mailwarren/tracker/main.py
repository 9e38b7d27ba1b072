"""The command line: ``tracker consume`` and ``tracker webhooks``."""

import argparse
import sys
from collections.abc import Sequence

import structlog

from mailwarren.runtime.collector import calm_collector
from mailwarren.runtime.observe import observe
from mailwarren.runtime.settings import load
from mailwarren.runtime.vault import Vault, WrongKeys, read_vault
from mailwarren.tracker.settings import TrackerSettings, WebhookSettings

log = structlog.get_logger()


def main(arguments: Sequence[str] | None = None) -> None:
    """The command line."""
    parser = argparse.ArgumentParser(prog="tracker", description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True)
    commands.add_parser("consume", help="write acceptances and outcomes into Postgres")
    commands.add_parser("webhooks", help="tell the tenants' webhooks what has happened; any number of replicas")
    # Each imports its own half: the metrics of the other would stand at 0, which means something there.
    if parser.parse_args(arguments).command == "webhooks":
        _webhooks()
    else:
        _consume()


def _consume() -> None:
    import uvloop

    from mailwarren.tracker.main_consume import consume

    settings = load(TrackerSettings, "tracker")
    observe("tracker", settings)
    calm_collector()
    uvloop.run(consume(settings))


def _webhooks() -> None:
    import uvloop

    from mailwarren.tracker.main_webhooks import tell_webhooks

    settings = load(WebhookSettings, "webhooks")
    observe("webhooks", settings)
    uvloop.run(tell_webhooks(settings, _vault(settings)))


def _vault(settings: WebhookSettings) -> Vault | None:
    """The keys; a file that is none ends the process."""
    if settings.data_keys is None:
        log.warning("webhooks.keys.missing", why="MAILWARREN_DATA_KEYS is not set: no secret can be read")
        return None
    try:
        return read_vault(settings.data_keys)
    except WrongKeys as error:
        log.critical("webhooks.keys.wrong", why=str(error))
        sys.exit(1)
