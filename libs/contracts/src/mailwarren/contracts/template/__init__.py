"""The template language of bulk mail: a bounded part of Jinja2, plus ``{{{NAME|fallback}}}``.

Ingest and the senders must agree on it, which is why it stands among the contracts: ingest refuses a template that
does not compile and a row whose variables do not fill it, the sender renders what was accepted.

The language is outputs, ``if``, ``for``, ``set``, ``with``, comments and ``raw``, the filters and tests of
:mod:`.filters`, a few methods of texts and mappings, and ``range``. There are no macros, no recursion and no other
templates: what a rendering can cost follows from its text and its variables, :mod:`.prices` says how much, and
:mod:`.work` bounds it to about ten milliseconds. HTML is escaped, subject and text are not.

A variable that stands in an output (``{{ name }}``) is required. One that is only tested (``{% if name %}``), has a
default (``{{ name|default("you") }}``) or a fallback (``{{{name|you}}}``) is optional.

Nothing here does I/O; every problem is a :class:`TemplateProblem`, which nobody retries.
"""

from mailwarren.contracts.template.filters import MAX_OPERAND
from mailwarren.contracts.template.render import MAX_OUTPUT, MAX_SOURCE, render, uses_template_syntax
from mailwarren.contracts.template.sandbox import MAX_RANGE
from mailwarren.contracts.template.variables import missing_variables, required_variables
from mailwarren.contracts.template.work import MAX_WORK, TemplateProblem

__all__ = [
    "MAX_OPERAND",
    "MAX_OUTPUT",
    "MAX_RANGE",
    "MAX_SOURCE",
    "MAX_WORK",
    "TemplateProblem",
    "missing_variables",
    "render",
    "required_variables",
    "uses_template_syntax",
]
