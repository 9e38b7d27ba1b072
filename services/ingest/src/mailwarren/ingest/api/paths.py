"""One path for an endpoint, however an SDK joins it to its base URL.

SDKs do it in three ways, and a user has one base URL for all of them:

- as text, without a slash between (Ruby, and Node, Python, PHP with a slash of their own): a base URL that ends in a
  slash gives some of them ``/v1//emails``;
- as a reference that starts with a slash (Rust, .NET; RFC 3986 §5.2.2): the ``/v1`` of the base URL is dropped;
- as a reference without one (Go): the ``/v1`` is dropped unless the base URL ends in a slash.
"""

import re

from mailwarren.ingest.api.tables import ENDPOINTS

PREFIX = "/v1"
_SLASHES = re.compile("//+")
_COLLECTIONS = frozenset(endpoint.path.split("/")[2] for endpoint in ENDPOINTS)
"""What stands directly under the prefix. Our own pages (``/docs``, ``/healthz``) are not among them."""


def canonical(path: str) -> str:
    """The path that the router knows: single slashes, and the prefix before the API's collections."""
    if "//" in path:
        path = _SLASHES.sub("/", path)
    return PREFIX + path if path[1:].partition("/")[0] in _COLLECTIONS else path
