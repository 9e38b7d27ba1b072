"""The process that compiles: a source on its standard input, the HTML or what is wrong on its standard output."""

import resource
import sys
import traceback

import msgspec

CPU_SECONDS = 3
MEMORY = 256 * 1024 * 1024
"""Bytes of address space; both compilers together take about 30 MB."""

TOO_LARGE = "the HTML and its CSS are too large, or nested too deeply, to be compiled"


class Order(msgspec.Struct, frozen=True):
    """What to compile."""

    source: str
    markup: str
    inline_css: bool


class Done(msgspec.Struct, frozen=True):
    """What came of it: one of the three. ``bug`` is a type and a place, never a text of the author's."""

    html: str | None = None
    problem: str | None = None
    bug: str | None = None


def main() -> int:
    """Compile one source."""
    from mailwarren.ingest.markup.build import build
    from mailwarren.ingest.markup.problem import MarkupProblem

    resource.setrlimit(resource.RLIMIT_CPU, (CPU_SECONDS, CPU_SECONDS))
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY, MEMORY))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    order = msgspec.msgpack.decode(sys.stdin.buffer.read(), type=Order)
    try:
        done = Done(html=build(order.source, "mjml" if order.markup == "mjml" else "html", inline_css=order.inline_css))
    except MarkupProblem as error:
        done = Done(problem=str(error))
    except (MemoryError, RecursionError):
        done = Done(problem=TOO_LARGE)
    except Exception as error:  # noqa: BLE001 - told to the API, which raises it
        place = traceback.extract_tb(error.__traceback__)[-1]
        done = Done(bug=f"{type(error).__name__} at {place.filename}:{place.lineno}")
    sys.stdout.buffer.write(msgspec.msgpack.encode(done))
    return 0


if __name__ == "__main__":
    sys.exit(main())
