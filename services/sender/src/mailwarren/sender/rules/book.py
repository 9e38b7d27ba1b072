"""The rules in force in this process, and the watch over their files."""

import asyncio
from collections.abc import Callable, Collection
from importlib import resources
from pathlib import Path

import structlog

from mailwarren.sender import metrics
from mailwarren.sender.domain.classify import ReplyRules
from mailwarren.sender.egress.plan import EgressPlan
from mailwarren.sender.rules.egress import read_egress
from mailwarren.sender.rules.files import Loaded, Refused, RulesFile
from mailwarren.sender.rules.replies import read_replies
from mailwarren.sender.rules.shaping import read_shaping
from mailwarren.sender.smtp import SMARTHOST, Shaping, SiteLimits

LOOK_EVERY = 2.0
"""Seconds between two looks at the files."""

_AnyFile = RulesFile[Shaping] | RulesFile[ReplyRules] | RulesFile[EgressPlan | None]

log = structlog.get_logger()


def built_in(name: str) -> bytes:
    """The content of a file of ours: ``shaping`` or ``replies``."""
    return resources.files(__package__).joinpath(f"{name}.toml").read_bytes()


class RuleBook:
    """Shaping, reply rules and egresses. Each is replaced as a whole, in the loop's thread: no mail sees a half.

    Args:
        shaping_file: An operator's rows; None or an absent file leave the built-in ones.
        replies_file: An operator's reply rules.
        smarthost: The limits of the smarthost where no row says otherwise.
        egress_file: An operator's egresses; without any, mail leaves as the host sends it.
        egresses: Those of them that this sender has; none stands for all.

    Attributes:
        shaping: In force.
        replies: In force.
        egress: In force; None without a file.

    Raises:
        RulesError: a file cannot be obeyed; the text names it and says why, on one line.
    """

    def __init__(
        self,
        *,
        shaping_file: Path | None = None,
        replies_file: Path | None = None,
        smarthost: SiteLimits | None = None,
        egress_file: Path | None = None,
        egresses: Collection[str] = (),
    ) -> None:
        sites, rules = built_in("shaping"), built_in("replies")

        def shaping(own: bytes | None) -> Shaping:
            return read_shaping((sites,) if own is None else (sites, own), smarthost=smarthost)

        def replies(own: bytes | None) -> ReplyRules:
            return read_replies((rules,) if own is None else (own, rules))

        def egress(own: bytes | None) -> EgressPlan | None:
            return read_egress(own, egresses)

        self._egress_file = RulesFile("egress", egress_file, egress)
        self._shaping_file = RulesFile("shaping", shaping_file, shaping)
        self._replies_file = RulesFile("replies", replies_file, replies)
        self._put_shaping(self._shaping_file.load())
        self._put_replies(self._replies_file.load())
        self._put_egress(self._egress_file.load())

    async def follow(self, changed: Callable[[], None], every: float = LOOK_EVERY) -> None:
        """Look at the files for ever; call ``changed`` when the shaping, or the egresses, are others.

        A file that cannot be obeyed changes nothing; it is logged once.
        """
        while True:
            await asyncio.sleep(every)
            shaping = await asyncio.to_thread(self._shaping_file.look)
            if isinstance(shaping, Refused):
                _refuse(self._shaping_file, shaping)
            elif shaping is not None:
                self._put_shaping(shaping)
                changed()
            egress = await asyncio.to_thread(self._egress_file.look)
            if isinstance(egress, Refused):
                _refuse(self._egress_file, egress)
            elif egress is not None:
                self._put_egress(egress)
                changed()
            replies = await asyncio.to_thread(self._replies_file.look)
            if isinstance(replies, Refused):
                _refuse(self._replies_file, replies)
            elif replies is not None:
                self._put_replies(replies)

    def _put_shaping(self, found: Loaded[Shaping]) -> None:
        self.shaping = found.value
        # Sorted, so that a site which is beyond the most that are shown is so in every sender.
        metrics.name_sites((SMARTHOST, *sorted(found.value.names - {SMARTHOST})))
        _loaded(self._shaping_file, found.digest, len(found.value.names))

    def _put_replies(self, found: Loaded[ReplyRules]) -> None:
        self.replies = found.value
        _loaded(self._replies_file, found.digest, len(found.value))

    def _put_egress(self, found: Loaded[EgressPlan | None]) -> None:
        self.egress = found.value
        if self._egress_file.path is not None:
            _loaded(self._egress_file, found.digest, 0 if found.value is None else len(found.value.egresses))


def _loaded(file: _AnyFile, digest: str | None, count: int) -> None:
    metrics.record_rules_loaded(file.name)
    log.info("sender.rules.loaded", file=file.name, path=_shown(file), digest=digest or "built-in", count=count)


def _refuse(file: _AnyFile, found: Refused) -> None:
    metrics.record_rules_refused(file.name)
    log.error("sender.rules.refused", file=file.name, path=_shown(file), digest=found.digest, reason=found.reason)


def _shown(file: _AnyFile) -> str | None:
    return str(file.path) if file.path else None
