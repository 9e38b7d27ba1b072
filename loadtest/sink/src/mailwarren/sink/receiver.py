"""What all connections of one sink share."""

import time
from collections.abc import Callable
from dataclasses import dataclass, field

from mailwarren.sink.policy import Policy
from mailwarren.sink.script import Script, ScriptSource, read_script
from mailwarren.sink.store import Store


@dataclass(slots=True)
class Receiver:
    """The server that a dialogue speaks for.

    Args:
        store: the witness.
        policy: the script that is played now; may be replaced at any moment, a transaction keeps the one it began with.
        hostname: said in the greeting.
        offers_tls: STARTTLS is offered.
        credentials: user and password; AUTH is offered, and required before MAIL, when they are given.
        clock: wall-clock seconds.
    """

    store: Store = field(default_factory=Store)
    policy: Policy = field(default_factory=lambda: Policy(Script()))
    hostname: str = "sink.mailwarren.test"
    offers_tls: bool = False
    credentials: tuple[bytes, bytes] | None = None
    clock: Callable[[], float] = time.time

    def play(self, script: ScriptSource) -> Script:
        """Replace the script. Attempts and greylisting begin anew; transactions under way end as they began.

        Raises:
            ScriptError: it can't be played; the old one goes on.
        """
        self.policy = Policy(read_script(script))
        return self.policy.script

    def forget(self) -> int:
        """Empty the store, and what the script remembers of earlier attempts; returns the number of mails forgotten."""
        self.policy = Policy(self.policy.script)
        return self.store.forget()
