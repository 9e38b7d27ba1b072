"""Compiling in a process of its own, which may crash, hang or grow without hurting the API."""

import asyncio
import subprocess
import sys

import msgspec
import structlog

from mailwarren.ingest.markup.child import CPU_SECONDS, TOO_LARGE, Done, Order
from mailwarren.ingest.markup.problem import MarkupProblem

log = structlog.get_logger()

WITHIN = 10.0
"""Seconds by the clock: the CPU time that the process has, on a machine that has other things to do too."""
LARGEST = 4 * 1024 * 1024
"""Bytes of HTML that are looked at."""
_CHILD = (sys.executable, "-I", "-m", "mailwarren.ingest.markup.child")


class Compiler:
    """Compiles one source at a time."""

    def __init__(self, within: float = WITHIN) -> None:
        self._within = within
        self._turn = asyncio.Lock()

    async def compile(self, source: str, markup: str, *, inline_css: bool) -> str:
        """The HTML of a source; HTML whose CSS stays where it is needs no process.

        Raises:
            MarkupProblem: what is wrong with it.
            RuntimeError: a bug of ours, or of a compiler.
        """
        if markup == "html" and not inline_css:
            return source
        async with self._turn:
            return await asyncio.to_thread(self._run, Order(source, markup, inline_css))

    def _run(self, order: Order) -> str:
        try:
            ended = subprocess.run(  # noqa: S603 - our own interpreter and module
                _CHILD, input=msgspec.msgpack.encode(order), capture_output=True, timeout=self._within, check=False
            )
        except subprocess.TimeoutExpired as error:
            log.warning("ingest.markup.timeout", octets=len(order.source), markup=order.markup)
            raise MarkupProblem(f"{TOO_LARGE} (it took longer than {CPU_SECONDS} seconds)") from error
        if ended.returncode != 0:
            # A signal: out of CPU time or of stack. Memory that is refused ends native code by a signal too.
            log.warning("ingest.markup.died", code=ended.returncode, octets=len(order.source), markup=order.markup)
            raise MarkupProblem(TOO_LARGE)
        if len(ended.stdout) > LARGEST:
            raise MarkupProblem(f"the compiled HTML is larger than {LARGEST} bytes")
        done = msgspec.msgpack.decode(ended.stdout, type=Done)
        if done.bug is not None:
            raise RuntimeError(done.bug)
        if done.html is None:
            raise MarkupProblem(done.problem or TOO_LARGE)
        return done.html
