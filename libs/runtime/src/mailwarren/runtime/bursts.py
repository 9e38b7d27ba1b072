"""Confirmed publishes over one channel: those of one turn of the loop leave in one write.

What stands here is aiormq's ``basic_publish`` for many callers at once. It keeps that function's books, which are
public attributes of its channel: ``delivery_tag``, ``confirmations``, ``message_id_delivery_tag``. The channel's
reader goes on resolving confirms and returns by them, its writer goes on writing what stands in ``write_queue``.
"""

import asyncio
import itertools
from collections.abc import Mapping
from typing import Any

from aiormq.abc import ChannelFrame
from aiormq.channel import Channel, Returning

from mailwarren.runtime.frames import ID_LENGTH, Framer

FULL_RETRY = 0.005
"""Seconds until the next look at a write queue that was full: its writer waits for the socket then."""


class NotSent(Exception):
    """The channel ended, or the time ran out, before the message was given to the writer."""


class ChannelEnded(Exception):
    """The channel ended after the message was sent and before its confirm."""


class Sending:
    """A publish on its way. ``confirmed`` ends with the broker's confirm, or with what came instead of it."""

    __slots__ = ("confirmed", "frames", "message_id", "sent")

    def __init__(self, frames: list[bytes], message_id: str, confirmed: "asyncio.Future[Any]") -> None:
        self.frames = frames
        self.message_id = message_id
        self.confirmed = confirmed
        self.sent = False


class Bursts:
    """The publishes of one channel that was opened with confirms and ``on_return_raises``, and by nobody else.

    Args:
        channel: open.
    """

    def __init__(self, channel: Channel) -> None:
        self._channel = channel
        self._loop = channel.loop
        self._framer = Framer(channel.number, channel.max_content_size)
        self._numbers = itertools.count(1)
        self._waiting: list[Sending] = []
        channel.closing.add_done_callback(self._end)

    @property
    def ended(self) -> bool:
        """Nothing can be published any more."""
        return self._channel.is_closed

    async def publish(
        self,
        target: tuple[str, str, bool],
        headers: Mapping[str, Any],
        body: bytes,
        timeout: float,  # noqa: ASYNC109
    ) -> None:
        """Return when the broker has confirmed the message.

        Args:
            target: exchange, routing key, mandatory.
            headers: AMQP's.
            body: JSON.
            timeout: seconds.

        Raises:
            NotSent: the channel ended, or the time ran out, before it was sent.
            ChannelEnded: after it was sent.
            TimeoutError: sent, and no confirm came in time.
            aiormq.exceptions.PublishError: returned, no queue has the key.
            aiormq.exceptions.DeliveryError: nacked.
            ValueError: a name that is too long.
            TypeError: a header of a type that AMQP does not have.
        """
        # Unique in the channel, which is all that returns need it for.
        message_id = f"{next(self._numbers):0{ID_LENGTH}x}"
        frames = self._framer.frames(target, headers, message_id, body)
        sending = Sending(frames, message_id, self._loop.create_future())
        if not self._waiting:
            self._loop.call_soon(self._send)
        self._waiting.append(sending)
        timer = self._loop.call_later(timeout, self._expire, sending)
        try:
            await sending.confirmed
        except asyncio.CancelledError:
            # Cancelled as it ended: somebody has to look at the exception, or asyncio complains that nobody did.
            if not sending.confirmed.cancelled():
                sending.confirmed.exception()
            raise
        finally:
            timer.cancel()
            self._channel.message_id_delivery_tag.pop(message_id, None)

    def _send(self) -> None:
        """Number what waits and give it to the writer."""
        channel = self._channel
        if channel.write_queue.full() and not channel.is_closed:
            self._loop.call_later(FULL_RETRY, self._send)
            return
        burst, self._waiting = self._waiting, []
        frames: list[bytes] = []
        for sending in burst:
            if sending.confirmed.done():  # cancelled, or out of time, before it left
                continue
            if channel.is_closed:
                sending.confirmed.set_exception(NotSent("the channel ended"))
                continue
            channel.delivery_tag += 1
            channel.confirmations[channel.delivery_tag] = sending.confirmed
            channel.message_id_delivery_tag[sending.message_id] = channel.delivery_tag
            sending.sent = True
            frames += sending.frames
        if frames:
            channel.write_queue.put_nowait(ChannelFrame(payload=b"".join(frames), should_close=False))

    def _expire(self, sending: Sending) -> None:
        if not sending.confirmed.done():
            error = TimeoutError("no confirm in time") if sending.sent else NotSent("the writer took nothing in time")
            sending.confirmed.set_exception(error)

    def _end(self, _closing: "asyncio.Future[Any]") -> None:
        for confirmed in self._channel.confirmations.values():
            if not confirmed.done() and not isinstance(confirmed, Returning):
                confirmed.set_exception(ChannelEnded("the channel ended"))
