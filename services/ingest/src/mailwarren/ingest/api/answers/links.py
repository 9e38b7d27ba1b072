"""The answer of ``/``."""

import msgspec


class Links(msgspec.Struct, frozen=True):
    """Where to go from ``/``."""

    name: str
    docs: str
    openapi: str
    api: str
