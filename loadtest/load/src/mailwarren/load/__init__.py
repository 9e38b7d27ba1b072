"""Load on the API, and what became of every mail of it.

Locust makes the calls; its users are in ``loadtest/scenarios``, which only Locust imports, because importing it patches
the process. What needs no Locust is here: whom mail goes to (:mod:`.domains`), what it says (:mod:`.mails`), what an
answer means (:mod:`.verdict`), how a day and a spike go (:mod:`.curves`), and the command around it (:mod:`.main`).

A call fails when its answer is wrong. 429, 503 and a lost connection are no failures: the call is made again with its
Idempotency-Key after the time that the API asks for, and counted as backpressure. A call without an answer when the
patience is over is one, and the account says so.
"""

DONE = 0
"""Exit status: every check held and every accepted mail is accounted for."""
FAILED = 1
"""Exit status: answers were wrong, or the account does not balance."""
NOT_RUN = 2
"""Exit status: it could not begin."""
INTERRUPTED = 130
"""Exit status: Ctrl-C; the summary is of what was done until then."""

RUN = "load_run"
"""Name of the metadata entry that says which run a mail belongs to."""
SENDER_DOMAIN = "load.mailwarren.test"
"""Of every mail's From, and so of its Message-ID."""
