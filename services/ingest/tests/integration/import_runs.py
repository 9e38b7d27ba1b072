"""Imports as scheduler and worker carry them out, here in the test and one step at a time."""

from collections.abc import Callable
from typing import Any

from pydantic import SecretStr

from mailwarren.contracts.order import Order
from mailwarren.devstack.databases import run_apart
from mailwarren.ingest.adapters.database import Database
from mailwarren.ingest.adapters.import_work import ImportStates, ImportWork
from mailwarren.ingest.ops import importing
from mailwarren.ingest.ops.bench import Bench
from mailwarren.ingest.settings import OpsSettings

OURS = {"filename", "on_conflict", "percent", "error"}
"""Fields of an import that the SDK does not have."""


class Workers:
    """Schedulers and workers for the imports of a place; ``url``, of its database, may lead over a wire."""

    def __init__(self, place: Any, url: str | None = None, *, amqp_url: str | None = None) -> None:
        self._url: str = url or place.database_url
        self._settings = OpsSettings(amqp_url=SecretStr(amqp_url or place.amqp_url), amqp_prefix=place.prefix)

    def orders(self, at_once: int = 100) -> list[Order]:
        """The orders that a scheduler would give now."""

        async def run() -> list[Order]:
            async with Database(self._url, 2) as database, ImportWork(database).due(at_once) as due:
                return [one.order for one in due]

        return run_apart(run())

    def carry_out(self, order: Order, stopping: Callable[[], bool] = lambda: False) -> str:
        """One try of an order; the worker's word about it."""

        async def run() -> str:
            async with Database(self._url, 2) as database:
                return await importing.carry_out(Bench(database, self._settings, stopping), order)

        return run_apart(run())

    def give_up(self, order: Order) -> None:
        """After the last try."""

        async def run() -> None:
            async with Database(self._url, 2) as database:
                await importing.give_up(Bench(database, self._settings, lambda: False), order, "a bug")

        run_apart(run())

    def settle(self) -> list[str]:
        """Carry out all that is due."""
        said = []
        while orders := self.orders():
            said += [self.carry_out(order) for order in orders]
        return said

    def states(self) -> ImportStates:
        """What a scheduler shows."""

        async def run() -> ImportStates:
            async with Database(self._url, 2) as database:
                return await ImportWork(database).states()

        return run_apart(run())


def csv_of(*rows: Any) -> bytes:
    """Lines of cells, which have to need no quotes."""
    return "".join(",".join(row) + "\n" for row in rows).encode()
