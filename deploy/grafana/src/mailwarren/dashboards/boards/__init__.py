"""The boards, one module each."""

from mailwarren.dashboards.board import Board
from mailwarren.dashboards.boards import (
    api,
    egress,
    feedback,
    lanes,
    loadtest,
    overview,
    providers,
    queues,
    senders,
    tracker,
    webhooks,
)

BOARDS: tuple[Board, ...] = (
    overview.BOARD,
    api.BOARD,
    lanes.BOARD,
    queues.BOARD,
    providers.BOARD,
    senders.BOARD,
    egress.BOARD,
    tracker.BOARD,
    webhooks.BOARD,
    feedback.BOARD,
    loadtest.BOARD,
)
"""In the order in which one looks at them."""
