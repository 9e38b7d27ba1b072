"""The HTTP side's server: uvicorn inside the loop that also serves SMTP."""

import asyncio
import contextlib
import socket
from collections.abc import Generator

import uvicorn
from starlette.applications import Starlette


class _Server(uvicorn.Server):
    @contextlib.contextmanager
    def capture_signals(self) -> Generator[None, None, None]:
        """Signals belong to the program, not to its HTTP side."""
        yield


class HttpServer:
    """Serves ``app`` on a bound socket until ``stop``."""

    def __init__(self, app: Starlette) -> None:
        config = uvicorn.Config(
            app,
            log_config=None,
            access_log=False,
            lifespan="off",
            ws="none",
            timeout_graceful_shutdown=1,
            server_header=False,
        )
        self._server = _Server(config)
        self._task: asyncio.Task[None] | None = None

    async def start(self, bound: socket.socket) -> None:
        """Listen on ``bound``; requests are answered when this returns."""
        self._task = asyncio.create_task(self._server.serve(sockets=[bound]))
        while not self._server.started:
            if self._task.done():
                await self._task
                raise RuntimeError("the HTTP side ended before it began")
            await asyncio.sleep(0.001)

    async def stop(self) -> None:
        """Finish what is being answered, at most a second long."""
        self._server.should_exit = True
        if self._task:
            await self._task
