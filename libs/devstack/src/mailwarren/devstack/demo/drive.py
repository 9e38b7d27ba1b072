"""The run itself: one mail to prove where mail ends, then all of it, then the accounts."""

import asyncio
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from uuid import UUID

from mailwarren.contracts.ids import new_id
from mailwarren.contracts.lanes import Lane
from mailwarren.devstack.demo.balancing import balance
from mailwarren.devstack.demo.client import ApiClient
from mailwarren.devstack.demo.ledger import Copies, Entry, Finding, Ledger
from mailwarren.devstack.demo.mails import SENDER_DOMAIN
from mailwarren.devstack.demo.personas import script
from mailwarren.devstack.demo.posting import Posted, Poster
from mailwarren.devstack.demo.progress import Board, LaneTally, Tally
from mailwarren.devstack.demo.queues import Queues
from mailwarren.devstack.demo.recipients import Recipient
from mailwarren.devstack.demo.records import UNREADABLE, Records, States, Times
from mailwarren.devstack.demo.roster import TROUBLED
from mailwarren.devstack.demo.targets import Targets
from mailwarren.devstack.demo.witness import Witness
from mailwarren.devstack.errors import DevstackError

POLL = 1.0
"""Seconds between two looks at Postgres."""
PROBE_PATIENCE = 20.0
"""Seconds in which the first mail must reach the sink."""
PROBES = 5
STILL = 15.0
"""Seconds without a new end after which, once the time is over, no more are waited for."""
QUIET_PATIENCE = 20.0
"""Seconds for the broker's own statistics to catch up with it: they are up to 5 s old."""
READ_PATIENCE = 60.0
"""Seconds for which Postgres may be away while the run waits."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """Everything that the report is made of. Times are Unix seconds."""

    run: str
    ledger: Ledger
    posted: Posted
    times: dict[Lane, Times]
    timed_out: bool
    repeats: int


class Drive:
    """One run over a system that is up. Use :func:`driving` to make one.

    Args:
        recipients: the rows of the CSV.
        patience: seconds for ends after the last post.
    """

    def __init__(
        self,
        recipients: Sequence[Recipient],
        *,
        api: ApiClient,
        records: Records,
        queues: Queues,
        witness: Witness,
        patience: float,
    ) -> None:
        self.run = new_id().hex
        self._recipients = recipients
        self._api = api
        self._records = records
        self._queues = queues
        self._witness = witness
        self._patience = patience
        self._poster = Poster(api, self.run)
        self._since = datetime.now(UTC)
        self._known: set[tuple[str, str]] = set()
        self._states = States()
        self._rows = {lane: sum(one.lane is lane for one in recipients) for lane in Lane}

    async def check(self) -> None:
        """Return when every part of the system answers.

        Raises:
            DevstackError: the one that does not.
        """
        await self._api.check()
        await self._witness.script()
        await self._records.check()
        await self._queues.check()

    @asynccontextmanager
    async def personas(self) -> AsyncIterator[None]:
        """The demo's script at the sink, and afterwards what it played before."""
        before = await self._witness.script()
        self._known = {(pair.message_id, pair.address) for pair in await self._witness.pairs()}
        await self._witness.play(script())
        try:
            yield
        finally:
            with suppress(DevstackError):
                await self._witness.play(before)

    async def probe(self) -> Recipient:
        """Send one row's mail, to a reserved domain, and return that row when the sink has it.

        The list holds addresses at real providers. Whatever the system is set up to do with mail, nothing is sent to
        them before it is seen that mail ends here.

        Raises:
            DevstackError: it did not arrive, or the API takes none of the first rows that could be used.
        """
        reserved = (one for one in self._recipients if one.lane is Lane.HIGH and _is_reserved(one.envelope))
        for recipient, _ in zip(reserved, range(PROBES), strict=False):
            since = time.time()
            await self._poster.post_single([recipient])
            if not self._poster.posted.accepted:
                continue
            if await self._witness.arrives(recipient.envelope, since, PROBE_PATIENCE):
                return recipient
            raise DevstackError(
                f"The first mail (row {recipient.row}) did not reach the sink within {PROBE_PATIENCE:.0f} s. Nothing "
                "else was sent. Are the senders running, and is the sink their relay? See: make status, make logs"
            )
        raise DevstackError("The API took no mail to a .test address in the high lane to begin with; nothing was sent.")

    async def post_and_wait(self, board: Board) -> bool:
        """Post the rest and wait for every end; returns whether all came in time."""
        tried = self._poster.posted.rows
        rest = [one for one in self._recipients if one.row not in tried]
        posting = asyncio.create_task(self._poster.post_all(rest))
        try:
            while not posting.done():
                await self._look(board)
                await asyncio.wait([posting], timeout=POLL)
            await posting
            return await self._wait(board)
        finally:
            posting.cancel()
            await asyncio.gather(posting, return_exceptions=True)

    async def account(self, *, timed_out: bool) -> Outcome:
        """The four counts and what they come to."""
        posted = self._poster.posted
        ids = self._ids()
        depths = await self._queues.quiet(0.0 if timed_out else QUIET_PATIENCE)
        entries = await self._records.entries(ids, self.run, self._since)
        pairs = await self._new_pairs(entries)
        unanswered = [Finding(one.lane, f"row {one.row}", one.message) for one in posted.unanswered]
        ledger = balance(posted.accepted, entries, pairs, depths, unanswered)
        return Outcome(self.run, ledger, posted, await self._records.times(ids), timed_out, self._api.repeats)

    async def _wait(self, board: Board) -> bool:
        deadline = time.monotonic() + self._patience
        ended, moved = -1, time.monotonic()
        while True:
            await self._look(board)
            now = time.monotonic()
            if (count := self._states.ended.total()) != ended:
                ended, moved = count, now
            if ended >= len(self._poster.posted.accepted):
                return True
            if now > deadline and now - moved > STILL:
                return False
            await asyncio.sleep(POLL)

    async def _look(self, board: Board) -> None:
        """Read the states and show them. Postgres may be away for a while: the mail goes on without it."""
        deadline = time.monotonic() + READ_PATIENCE
        while True:
            try:
                self._states = await self._records.states(self._ids())
                break
            except UNREADABLE as error:
                if time.monotonic() > deadline:
                    raise DevstackError(f"Postgres has been away for {READ_PATIENCE:.0f} s: {error}") from error
                await asyncio.sleep(POLL)
        board.show(self._tally())

    def _tally(self) -> Tally:
        posted = self._poster.posted
        return {
            lane: LaneTally(
                rows=self._rows[lane],
                answered=posted.counted(lane),
                accepted=sum(one.lane is lane for one in posted.accepted),
                ended=self._states.ended[lane],
                states=self._states.lanes[lane],
            )
            for lane in Lane
        }

    def _ids(self) -> list[UUID]:
        return [one.id for one in self._poster.posted.accepted]

    async def _new_pairs(self, entries: Sequence[Entry]) -> list[Copies]:
        """The sink's pairs of this run: ours by the sender's domain, new, and not a late one of another run."""
        ours = [
            pair
            for pair in await self._witness.pairs()
            if pair.message_id.endswith(f"@{SENDER_DOMAIN}") and (pair.message_id, pair.address) not in self._known
        ]
        recorded = {(entry.message_id, entry.address) for entry in entries}
        strange = [pair for pair in ours if (pair.message_id, pair.address) not in recorded]
        ids = {pair: ident for pair in strange if (ident := _email_id(pair.message_id))}
        others = await self._records.of_others(ids.values(), self.run) if ids else set()
        return [pair for pair in ours if ids.get(pair) not in others]


@asynccontextmanager
async def driving(targets: Targets, recipients: Sequence[Recipient], patience: float) -> AsyncIterator[Drive]:
    """A run with its connections."""
    records = Records(targets.database_url)
    try:
        async with ApiClient(targets.api_url, targets.api_key) as api, Witness(targets.sink_url) as witness:
            yield Drive(
                recipients, api=api, records=records, queues=Queues(targets), witness=witness, patience=patience
            )
    finally:
        await records.close()


def _is_reserved(address: str) -> bool:
    """Under .test (RFC 2606 §2), and at a server that takes everything."""
    domain = address.rpartition("@")[2]
    return domain.endswith(".test") and domain not in TROUBLED


def _email_id(message_id: str) -> UUID | None:
    try:
        return UUID(message_id.partition("@")[0])
    except ValueError:
        return None
