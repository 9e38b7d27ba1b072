"""The script over HTTP: replace it, and let things happen for a time."""

from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response

from mailwarren.sink.answers import answer
from mailwarren.sink.receiver import Receiver
from mailwarren.sink.script import ScriptError, built_in_personas, read_event, read_script, read_toml

_LARGEST_SCRIPT = 4 * 1024 * 1024


class ScriptSide:
    """The endpoints."""

    def __init__(self, receiver: Receiver) -> None:
        self._receiver = receiver

    async def personas(self, _request: Request) -> Response:
        """The personas that come with the sink."""
        return answer(built_in_personas())

    async def script(self, _request: Request) -> Response:
        """What is played, what of it is in force now, and what comes."""
        return answer(self._receiver.shown())

    async def play(self, request: Request) -> Response:
        """Replace the script by one in JSON or TOML."""
        toml = "toml" in request.headers.get("content-type", "")
        body = await self._body(request)
        try:
            self._receiver.play(read_toml(body) if toml else read_script(body))
        except ScriptError as error:
            raise HTTPException(422, str(error)) from error
        return answer(self._receiver.shown())

    async def timeline(self, _request: Request) -> Response:
        """All events, those that are over too."""
        return answer(self._receiver.scheduled())

    async def add(self, request: Request) -> Response:
        """One more event, counted from now."""
        try:
            event = read_event(await self._body(request), self._receiver.script)
        except ScriptError as error:
            raise HTTPException(422, str(error)) from error
        return answer(self._receiver.add(event), 201)

    async def cancel(self, request: Request) -> Response:
        """End an event, or let it never begin."""
        number: int = request.path_params["n"]
        if not self._receiver.cancel(number):
            raise HTTPException(404, f"no event {number} in this script's timeline")
        return answer(self._receiver.scheduled()[number - 1])

    @staticmethod
    async def _body(request: Request) -> bytes:
        body = bytearray()
        async for chunk in request.stream():
            body += chunk
            if len(body) > _LARGEST_SCRIPT:
                raise HTTPException(413, f"a script has at most {_LARGEST_SCRIPT} octets")
        return bytes(body)
