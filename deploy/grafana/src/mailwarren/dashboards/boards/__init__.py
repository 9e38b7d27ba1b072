"""The boards, one module each."""

from mailwarren.dashboards.board import Board
from mailwarren.dashboards.boards import lanes, loadtest, overview, providers, queues, senders, tracker, webhooks

BOARDS: tuple[Board, ...] = (
    overview.BOARD,
    lanes.BOARD,
    queues.BOARD,
    providers.BOARD,
    senders.BOARD,
    tracker.BOARD,
    webhooks.BOARD,
    loadtest.BOARD,
)
"""In the order in which one looks at them."""
