"""What the tracker itself writes into the control log: pauses of a tenant's bulk mail."""

from mailwarren.contracts.codec import encode, headers_of
from mailwarren.contracts.shaping import SHAPING_KEY, Override
from mailwarren.contracts.topology import Topology
from mailwarren.runtime.amqp import Publisher


class ControlLogWriter:
    """Writes entries that all senders obey, and that come back through the tracker's own queue to be kept."""

    def __init__(self, publisher: Publisher, topology: Topology) -> None:
        self._publisher = publisher
        self._exchange = topology.control_log.name

    async def write(self, override: Override) -> None:
        """Return when the broker has confirmed it.

        Raises:
            PublishError: it has not.
        """
        await self._publisher.publish(self._exchange, SHAPING_KEY, encode(override), headers_of(override))
