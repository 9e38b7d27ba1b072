"""The page as text: pure, from what is known to HTML."""

import hashlib
from base64 import b64encode
from functools import cache
from importlib.resources import files

import jinja2
from markupsafe import Markup

from mailwarren.ingest.adapters.unsubscribes import Preferences
from mailwarren.ingest.pages.words import WORDS


def preferences_page(language: str, address: str, preferences: Preferences, done: str | None = None) -> str:
    """What an address gets, and the forms to change it.

    Args:
        language: a key of :data:`~mailwarren.ingest.pages.words.WORDS`.
        address: whose.
        preferences: what it gets now.
        done: the word for what was just done, if anything was.
    """
    words = WORDS[language]
    return _template().render(
        language=language,
        title=words["title"],
        note=words[done] if done else "",
        address=address,
        preferences=preferences,
        words=words,
        css=_css(),
        languages=_languages(),
    )


def notice_page(language: str, what: str) -> str:
    """A page that only says something: ``bad``, ``away`` or ``odd``."""
    words = WORDS[language]
    return _template().render(
        language=language,
        title=words[f"{what}_title"],
        note=words[what],
        address=None,
        words=words,
        css=_css(),
        languages=_languages(),
    )


@cache
def policy() -> str:
    """The pages' Content-Security-Policy: their own style, forms to themselves, and nothing else."""
    digest = b64encode(hashlib.sha256(_css().encode()).digest()).decode()
    return (
        f"default-src 'none'; style-src 'sha256-{digest}'; form-action 'self'; frame-ancestors 'none'; base-uri 'none'"
    )


@cache
def _css() -> Markup:
    return Markup(_read("page.css"))  # noqa: S704 - our own file


@cache
def _template() -> jinja2.Template:
    environment = jinja2.Environment(
        autoescape=True, undefined=jinja2.StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    return environment.from_string(_read("page.html"))


def _languages() -> list[tuple[str, str]]:
    return [(code, words["name"]) for code, words in WORDS.items()]


def _read(name: str) -> str:
    return (files("mailwarren.ingest.pages") / name).read_text("utf-8")
