"""Nothing that a mail or a setting could stand in leaves with an error report."""

import json
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from mailwarren.runtime.scrub import scrub

SECRETS = (
    "bob@example.test",
    "Dear Bob, your code is 123456",
    "amqp://mailwarren:hunter2@rabbitmq:5672/mailwarren",
    "Bearer mw_0123456789abcdef",
    "Subject: =?utf-8?q?Gr=C3=BC=C3=9Fe?=",
    "Ådá <ada@sender.test>",
)
harmless = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=5)
secrets = st.sampled_from(SECRETS)
anything = st.recursive(
    harmless | secrets | st.tuples(st.text(max_size=5), secrets).map("".join),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(("vars", "values", "frames", "runtime", "type", "stacktrace", "name", "data")) | secrets,
            inner,
            max_size=4,
        )
    ),
    max_leaves=12,
)
frames = st.fixed_dictionaries(
    {},
    optional=dict.fromkeys(
        ("filename", "abs_path", "function", "module", "lineno", "vars", "context_line", "pre_context"), anything
    ),
)
exceptions = st.fixed_dictionaries(
    {},
    optional={
        "type": anything,
        "value": secrets,
        "module": anything,
        "mechanism": anything,
        "stacktrace": anything | st.fixed_dictionaries({"frames": st.lists(frames, max_size=3)}),
    },
)
KNOWN = ("message", "logger", "level", "tags", "extra", "request", "user", "breadcrumbs", "contexts", "modules", "sdk")
events = st.fixed_dictionaries(
    {},
    optional={
        **dict.fromkeys(KNOWN, anything),
        "exception": anything | st.fixed_dictionaries({"values": st.lists(exceptions, max_size=2)}),
        "tags": st.dictionaries(st.sampled_from(("trace_id", "event", "to")), anything, max_size=3),
        "a_field_of_a_later_sdk": anything,
    },
)


@settings(max_examples=300, deadline=None)
@given(events)
def test_no_secret_leaves_wherever_it_stands(event: dict[str, Any]) -> None:
    left = json.dumps(scrub(event), ensure_ascii=False)
    assert [secret for secret in SECRETS if secret in left] == []


def test_what_a_developer_needs_stays() -> None:
    event = {
        "event_id": "0" * 32,
        "level": "error",
        "message": "sender.delivery.error",
        "release": "mailwarren@1.2.3",
        "tags": {"trace_id": "4bf92f3577b34da6a3ce929d0e0e4736", "lane": "high", "to": "bob"},
        "exception": {
            "values": [
                {
                    "type": "KeyError",
                    "module": "builtins",
                    "value": "'bob@example.test'",
                    "mechanism": {"type": "logging", "handled": True, "data": {"body": "Dear Bob"}},
                    "stacktrace": {
                        "frames": [
                            {
                                "filename": "mailwarren/sender/domain/render.py",
                                "function": "build_mail.<locals>.part",
                                "module": "mailwarren.sender.domain.render",
                                "lineno": 17,
                                "in_app": True,
                                "vars": {"text": "Dear Bob"},
                                "context_line": "    return text",
                            },
                            {"filename": "<template>", "function": "block 'Dear Bob'", "lineno": 1},
                        ]
                    },
                }
            ]
        },
    }
    assert scrub(event) == {
        "event_id": "0" * 32,
        "level": "error",
        "message": "sender.delivery.error",
        "release": "mailwarren@1.2.3",
        "tags": {"trace_id": "4bf92f3577b34da6a3ce929d0e0e4736", "lane": "high"},
        "contexts": {"runtime": {}},
        "sdk": {},
        "exception": {
            "values": [
                {
                    "type": "KeyError",
                    "module": "builtins",
                    "mechanism": {"type": "logging", "handled": True},
                    "stacktrace": {
                        "frames": [
                            {
                                "filename": "mailwarren/sender/domain/render.py",
                                "function": "build_mail.<locals>.part",
                                "module": "mailwarren.sender.domain.render",
                                "lineno": 17,
                                "in_app": True,
                            },
                            {"lineno": 1},
                        ]
                    },
                }
            ]
        },
    }
