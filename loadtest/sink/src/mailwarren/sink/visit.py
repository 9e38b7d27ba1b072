"""One connection, as the policy and the counts see it: whom it is with, and where it counts."""

from typing import NamedTuple

from mailwarren.sink.sites import Site


class Host(NamedTuple):
    """The address that a client connected to, and the name that this server goes by."""

    address: str
    """``127.0.0.2:2525``, or ``[::1]:2525``."""
    ip: str = ""
    port: int = 0
    name: str = ""

    @property
    def matched_by(self) -> tuple[str, ...]:
        """What ``hosts`` of a persona may say to mean it."""
        return (self.address, self.ip, f":{self.port}", *([self.name.lower()] if self.name else []))


class Visit:
    """A connection from its beginning to its end.

    Args:
        connection: its number, from 1.
        host: where it came to.
        client: the client's address.
        port: the client's TCP port.
        places: the sites that it counts in whatever its persona.
    """

    __slots__ = ("client", "connection", "host", "joined", "mails", "octets_per_s", "places", "port")

    def __init__(
        self, *, connection: int, host: Host, client: str = "", port: int = 0, places: tuple[Site, ...] = ()
    ) -> None:
        self.connection = connection
        self.host = host
        self.client = client
        self.port = port
        self.places = places
        self.joined: list[Site] = []
        """The sites of personas that have had to do with it."""
        self.mails = 0
        """Final dots so far."""
        self.octets_per_s: float | None = None
        """How fast replies trickle."""

    def begin(self, now: float) -> None:
        """It is open."""
        for site in self.places:
            site.join(self.client, now)

    def join(self, site: Site, now: float) -> bool:
        """It has to do with this persona's site; whether that is new."""
        if site in self.joined:
            return False
        self.joined.append(site)
        site.join(self.client, now)
        return True

    def end(self, now: float) -> None:
        """It is gone."""
        for site in (*self.places, *self.joined):
            site.leave(self.client, now)
        self.joined.clear()
