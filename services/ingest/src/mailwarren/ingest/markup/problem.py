"""What an author did wrong. Apart from :mod:`.build`, so that the API does not load the compilers to know of it."""


class MarkupProblem(ValueError):
    """A source that cannot be compiled; the text is for its author."""
