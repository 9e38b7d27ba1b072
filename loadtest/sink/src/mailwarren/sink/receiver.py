"""What all connections of one sink share."""

import time
from collections.abc import Callable

import msgspec

from mailwarren.sink.persona import Tls
from mailwarren.sink.policy import Memory, Policy
from mailwarren.sink.script import Event, Script, ScriptSource, read_script
from mailwarren.sink.store import Store
from mailwarren.sink.timeline import Scheduled, State, Timeline
from mailwarren.sink.visit import Host, Visit


class Receiver:
    """The server that a dialogue speaks for.

    Args:
        store: the witness.
        script: what is played; may be replaced at any moment, a transaction keeps what it began with.
        hostname: said in the greeting, where the host that was connected to has no name of its own.
        offers_tls: STARTTLS is offered.
        credentials: user and password; AUTH is offered, and required before MAIL, when they are given.
        clock: wall-clock seconds.

    Raises:
        ScriptError: the script can't be played.
    """

    def __init__(
        self,
        *,
        store: Store | None = None,
        script: ScriptSource | None = None,
        hostname: str = "sink.mailwarren.test",
        offers_tls: bool = False,
        credentials: tuple[bytes, bytes] | None = None,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self.store = Store() if store is None else store
        self.hostname = hostname
        self.credentials = credentials
        self.clock = clock
        self._offers_tls = offers_tls
        self.play(script if script is not None else Script())

    @property
    def policy(self) -> Policy:
        """What is played at this moment."""
        if self._changes_at is not None and self.clock() >= self._changes_at:
            self._turn()
        return self._policy

    @property
    def script(self) -> Script:
        """What is played, its timeline as it was given."""
        return self._script

    def play(self, script: ScriptSource) -> Script:
        """Replace the script. Attempts and greylisting begin anew; transactions under way end as they began.

        Raises:
            ScriptError: it can't be played; the old one goes on.
        """
        self._script = read_script(script)
        self._memory = Memory()
        self._timeline = Timeline(self._script.timeline, self.clock())
        self._turn()
        return self._script

    def add(self, event: Event) -> Scheduled:
        """Let an event happen, counted from now."""
        number = self._timeline.add(event, self.clock())
        self._turn()
        return self.scheduled()[number - 1]

    def cancel(self, number: int) -> bool:
        """End an event, or let it never begin; false when there is none of this number."""
        found = self._timeline.cancel(number)
        self._turn()
        return found

    def scheduled(self) -> list[Scheduled]:
        """The events of the timeline, and how far each is."""
        return self._timeline.scheduled(self.clock())

    def shown(self) -> Script:
        """The script, and what of its timeline is in force and comes."""
        events = self.scheduled()
        if not events:
            return self._script
        now = {state.value: [e for e in events if e.state is state] for state in (State.IN_FORCE, State.COMING)}
        return msgspec.structs.replace(self._script, now=msgspec.to_builtins(now))

    def forget(self) -> int:
        """Empty the store, and what the script remembers of earlier attempts; returns the number of mails forgotten."""
        self._memory = Memory()
        self._turn()
        return self.store.forget()

    def welcome(self, host: Host, client: str = "", port: int = 0) -> Visit:
        """Count a new connection."""
        store = self.store
        store.connections += 1
        store.connections_open += 1
        places = (store.sites.everything, store.sites.address(host.address))
        visit = Visit(connection=store.connections, host=host, client=client, port=port, places=places)
        visit.begin(self.clock())
        return visit

    def part(self, visit: Visit) -> None:
        """That connection is gone."""
        self.store.connections_open -= 1
        visit.end(self.clock())

    def tls_for(self, visit: Visit) -> Tls:
        """What STARTTLS leads to on this connection."""
        role = self.policy.role_at(visit.host)
        tls = role.persona.tls if role else Tls.DEFAULT
        if tls is Tls.DEFAULT and not self._offers_tls:
            return Tls.NONE
        return tls

    def requires_tls(self, visit: Visit) -> bool:
        """Whether MAIL must wait for TLS."""
        role = self.policy.role_at(visit.host)
        return role is not None and role.persona.requires_tls

    def takes_chunks(self, visit: Visit) -> bool:
        """Whether mail may come by BDAT."""
        role = self.policy.role_at(visit.host)
        return role is not None and role.persona.chunking

    def extensions(self, visit: Visit) -> list[str]:
        """What EHLO offers, but for STARTTLS and AUTH."""
        role = self.policy.role_at(visit.host)
        offered = ["PIPELINING", f"SIZE {self.policy.size_limit(visit.host)}", "8BITMIME", "SMTPUTF8"]
        if role is not None:
            offered = [line for line in offered if line.partition(" ")[0] not in role.persona.leaves_out]
            if role.persona.chunking:
                offered.append("CHUNKING")
        return [*offered, "ENHANCEDSTATUSCODES"]

    def _turn(self) -> None:
        now = self.clock()
        self._changes_at = self._timeline.next_change(now)
        self._policy = Policy(
            self._script, sites=self.store.sites, memory=self._memory, in_front=self._timeline.in_force(now)
        )
