"""What a person reads when the stack cannot do what was asked."""


class DevstackError(Exception):
    """The message is complete: what went wrong and what to do. It is shown without a traceback."""
