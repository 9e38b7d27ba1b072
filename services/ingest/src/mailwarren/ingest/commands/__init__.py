"""What ``mailwarren`` can do on the command line; :mod:`mailwarren.ingest.cli` reads the arguments.

Commands return what to print and raise :class:`Failed` with words for a person; nothing here prints.
"""


class Failed(Exception):
    """The command could not do what was asked; the text is for the person at the terminal (exit status 1)."""
