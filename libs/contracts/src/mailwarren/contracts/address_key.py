"""What makes an address the same as another, for everyone who compares addresses (``docs/adr/0040``)."""

_LOWER = {capital: capital + 32 for capital in range(ord("A"), ord("Z") + 1)}


def address_key(address: str) -> str:
    """The key of an address: A to Z in lower case, everything else as it is.

    Two spellings with one key are one delivery of an email, one contact, and one entry on a list. Letters beyond ASCII
    keep their case: what folds them depends on who does it (Python, the locale of a database, a release of Unicode),
    and the ids of stored mail depend on the key.

    ``address`` is one that ingest has taken: composed (NFC), with its domain in lower case A-labels.
    """
    return address.lower() if address.isascii() else address.translate(_LOWER)
