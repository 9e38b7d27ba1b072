"""What keeps a broker connection from working, in words for the person who can end it."""

from urllib.parse import unquote, urlsplit

SETUP_HINT = "run: mailwarren setup (or mailwarren topology apply)"


def broker_trouble(error: BaseException, url: str) -> str:
    """Why a connection to the broker, or what is done first over it, failed; never with a password.

    The client libraries have classes of their own for it, but the broker's words are the same in all of them.
    """
    parts = urlsplit(url)
    said = _words(error)
    if parts.password:
        for secret in {parts.password, unquote(parts.password)}:
            said = said.replace(secret, "***")
    place = f"{parts.hostname}:{parts.port or (5671 if parts.scheme == 'amqps' else 5672)}"
    user, vhost = unquote(parts.username or "guest"), unquote(parts.path[1:]) or "/"
    known = {
        "ACCESS_REFUSED - Login": f"the broker at {place} refused the user {user} or the password",
        "ACCESS_REFUSED": f"the broker denied something to the user {user}",
        "NOT_FOUND - no queue": f"a queue is missing; {SETUP_HINT}",
        "NOT_FOUND - no exchange": f"an exchange is missing; {SETUP_HINT}",
        "NOT_ALLOWED": f"the broker at {place} has no virtual host {vhost}, or does not let {user} in",
        # What aiormq makes of a close where the broker should have opened the virtual host.
        "Connection.OpenOk": f"the broker at {place} has no virtual host {vhost}, or does not let {user} in",
    }
    for words, meaning in known.items():
        if words in said:
            return f"{meaning}: {said}"
    if isinstance(error, OSError | TimeoutError):
        return f"no broker at {place}: {said}"
    return said


def _words(error: BaseException) -> str:
    text = " ".join(str(error).split())
    return f"{type(error).__name__}: {text}" if text else type(error).__name__
