"""The mails that everybody sends: one template, many people, a few large domains and many small ones."""

import random
from collections.abc import Sequence
from dataclasses import dataclass

SENDER = "Ada Lovelace <ada@sender.test>"
ENVELOPE_SENDER = "ada@sender.test"
SUBJECT = "{{ name }}, your order {{ order }} is on its way"
TEXT = """Hello {{ name }},

your order {{ order }} has left our house and should be with you in two days.

{% for item in items %}- {{ item }}
{% endfor %}
Yours, Ada
"""
HTML = (
    "<html><body style='font-family:sans-serif'><h1>Hello {{ name }}</h1>"
    "<p>Your order <b>{{ order }}</b> has left our house and should be with you in two days.</p>"
    "<ul>{% for item in items %}<li>{{ item }}</li>{% endfor %}</ul>"
    + "<p>We pack by hand, and we plant a tree for every hundredth parcel that we send.</p>" * 10
    + "<p>Yours, Ada</p></body></html>"
)
"""Jinja, about 1.5 kB when rendered; with the text and the headers a mail has about 2 kB."""
DOMAINS = 50


@dataclass(frozen=True)
class Recipient:
    """One person: the address, and the template's variables."""

    to: str
    variables: dict[str, object]


def make_work(count: int, *, tag: str = "u", seed: int = 7) -> Sequence[Recipient]:
    """``count`` people, the same for the same arguments; the n-th domain has a share of about 1/n."""
    chance = random.Random(seed)
    domains = [f"d{n}.test" for n in range(DOMAINS)]
    weights = [1 / (n + 1) for n in range(DOMAINS)]
    chosen = chance.choices(domains, weights, k=count)
    return [
        Recipient(
            f"{tag}{n}@{domain}",
            {"name": f"Name{n}", "order": f"A-{n:07d}", "items": ["a book", "two pens", f"lamp no. {n % 97}"]},
        )
        for n, domain in enumerate(chosen)
    ]
