"""Colours. A lane, a state, a result has the same one on every board."""

from collections.abc import Mapping

GREEN, YELLOW, ORANGE, RED, BLUE, GREY = "#56A64B", "#F2CC0C", "#FF780A", "#E02F44", "#3274D9", "#8E8E8E"

LANES: Mapping[str, str] = {"high": "#D6336C", "normal": "#1098AD", "bulk": "#846358"}

OUTCOMES: Mapping[str, str] = {
    "accepted": BLUE,
    "queued": "#8AB8FF",
    "delivered": GREEN,
    "deferred": YELLOW,
    "bounced": ORANGE,
    "failed": RED,
    "expired": "#AD0317",
    "suppressed": "#6C8EBF",
    "canceled": GREY,
    "held": "#CA95E5",
    "parked": "#8F3BB8",
    "unconfirmed": "#B877D9",
    "started": "#C0D8FF",
}

STATUS: Mapping[str, str] = {"2xx": GREEN, "3xx": BLUE, "4xx": YELLOW, "5xx": RED}

SERVICES: Mapping[str, str] = {"ingest": BLUE, "sender": GREEN, "tracker": "#8F3BB8", "broker": ORANGE}
