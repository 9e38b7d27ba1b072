"""The process that compiles: a source on its standard input, the HTML or what is wrong on its standard output."""

import resource
import sys

import msgspec

CPU_SECONDS = 3
MEMORY = 256 * 1024 * 1024
"""Bytes of address space; both compilers together take about 30 MB."""


class Order(msgspec.Struct, frozen=True):
    """What to compile."""

    source: str
    markup: str
    inline_css: bool


class Done(msgspec.Struct, frozen=True):
    """What came of it: one of the two."""

    html: str | None = None
    problem: str | None = None


def main() -> int:
    """Compile one source."""
    from mailwarren.ingest.markup.build import MarkupProblem, build

    resource.setrlimit(resource.RLIMIT_CPU, (CPU_SECONDS, CPU_SECONDS))
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY, MEMORY))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    order = msgspec.msgpack.decode(sys.stdin.buffer.read(), type=Order)
    try:
        done = Done(html=build(order.source, "mjml" if order.markup == "mjml" else "html", inline_css=order.inline_css))
    except MarkupProblem as error:
        done = Done(problem=str(error))
    sys.stdout.buffer.write(msgspec.msgpack.encode(done))
    return 0


if __name__ == "__main__":
    sys.exit(main())
