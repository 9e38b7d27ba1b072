"""The boards, one module each. There is none for webhooks, because there is no webhook service to watch yet."""

from mailwarren.dashboards.board import Board
from mailwarren.dashboards.boards import lanes, loadtest, overview, providers, queues, senders, tracker

BOARDS: tuple[Board, ...] = (
    overview.BOARD,
    lanes.BOARD,
    queues.BOARD,
    providers.BOARD,
    senders.BOARD,
    tracker.BOARD,
    loadtest.BOARD,
)
"""In the order in which one looks at them."""
