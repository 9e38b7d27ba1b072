"""HTTP to what runs on this machine, in the clear."""

import ssl


def no_tls() -> ssl.SSLContext:
    """For ``httpx``'s ``verify``: trusts nobody, and is made at once.

    Without it every ``httpx.get`` loads the world's certificates, also for plain HTTP: 80 ms of a slow core, which
    whoever polls takes from the service that it waits for.
    """
    return ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
