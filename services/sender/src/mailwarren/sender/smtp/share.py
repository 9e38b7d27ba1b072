"""How much of a site's limits is this process's own, which changes from moment to moment."""

from dataclasses import dataclass

from mailwarren.sender.smtp.result import NoSession
from mailwarren.sender.smtp.site import Site, SiteLimits


@dataclass(frozen=True, slots=True)
class Share:
    """What this process may do to a site now.

    Attributes:
        connections: Open at the same time; 0 lets nothing begin, and those at rest close.
        rate: Mails begun in a second; None is as many as go.
        connection_rate: Connections begun in a second; None likewise.
        credit: Connections that may be begun at once when a rate begins: 0 where this process takes them over from
            another, which may have begun one a moment ago.
    """

    connections: int
    rate: float | None = None
    connection_rate: float | None = None
    credit: float = 0.0


class Watch:
    """What a pool asks and tells about sites. This one gives every site all of its limits, and listens to nothing."""

    def share_of(self, name: str, limits: SiteLimits) -> Share:  # noqa: ARG002 - of this one all sites are alike
        """What is this process's own of ``limits`` now."""
        return Share(limits.connections, limits.rate, limits.connection_rate)

    def freed(self, name: str) -> None:
        """A connection or a dial of the site is gone."""

    def session(self, name: str) -> None:
        """A host of the site gave a session."""

    def no_session(self, site: Site, failure: NoSession) -> None:
        """A host of the site, to which no other connection stands, gave none."""
