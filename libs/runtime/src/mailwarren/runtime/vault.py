"""Secrets at rest: what Postgres keeps of them is encrypted with keys that it never sees.

The file of ``MAILWARREN_DATA_KEYS`` has a Fernet key a line (32 bytes in base64; AES-128-CBC with HMAC-SHA256). The
first encrypts, all decrypt: a new one is added below, then moved to the top, and the old one taken out when nothing is
encrypted with it any more (``mailwarren data-keys renew``). The file is read at the start.
"""

from pathlib import Path

from cryptography.fernet import Fernet, InvalidToken, MultiFernet

MAX_FILE = 64 * 1024


class Unreadable(Exception):
    """None of the keys decrypts it."""


class WrongKeys(ValueError):
    """The file is not one of keys; the text says what is wrong, and shows nothing of it."""


class Vault:
    """Encrypts and decrypts.

    Args:
        keys: in their order.

    Raises:
        WrongKeys: none, or one that is no key.
    """

    def __init__(self, keys: list[str]) -> None:
        if not keys:
            raise WrongKeys("there is no key in it; `mailwarren data-keys new` prints one")
        try:
            self._fernets = [Fernet(key.translate({43: "-", 47: "_"})) for key in keys]
        except ValueError as error:
            raise WrongKeys("each line is 32 bytes in base64; `mailwarren data-keys new` prints such a key") from error
        self._all = MultiFernet(self._fernets)

    def close(self, secret: bytes) -> bytes:
        """Encrypt, with the first key."""
        return self._all.encrypt(secret)

    def open(self, closed: bytes) -> bytes:
        """Decrypt, with whichever key does.

        Raises:
            Unreadable: none does.
        """
        try:
            return self._all.decrypt(closed)
        except InvalidToken:
            raise Unreadable("none of the keys in MAILWARREN_DATA_KEYS decrypts it") from None

    def is_new(self, closed: bytes) -> bool:
        """Whether it is encrypted with the first key."""
        try:
            self._fernets[0].decrypt(closed)
        except InvalidToken:
            return False
        return True


def read_vault(path: Path) -> Vault:
    """The vault of a file of keys.

    Raises:
        WrongKeys: it cannot be read, or is not one of keys.
    """
    try:
        with path.open("rb") as file:
            text = file.read(MAX_FILE).decode()
    except (OSError, UnicodeDecodeError) as error:
        raise WrongKeys(f"{path}: {type(error).__name__}") from error
    lines = [line.strip() for line in text.splitlines()]
    try:
        return Vault([line for line in lines if line and not line.startswith("#")])
    except WrongKeys as error:
        raise WrongKeys(f"{path}: {error}") from error


def new_key() -> str:
    """A key for the file."""
    return Fernet.generate_key().decode()
