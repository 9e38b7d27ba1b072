"""Scripts: what can be played, and what is said about what cannot."""

import json
import re
from pathlib import Path

import msgspec
import pytest

from mailwarren.sink.persona import Persona, Rule, Stage
from mailwarren.sink.script import Script, ScriptError, built_in_personas, read_script, read_toml


def persona(**changes: object) -> dict[str, object]:
    return {"domains": ["x.test"], **changes}


def rule(**changes: object) -> dict[str, object]:
    return {"stage": "rcpt", "code": 451, **changes}


def test_the_empty_script_takes_everything() -> None:
    assert Script() == read_script(b"{}")
    assert read_script({}).personas == ()


def test_a_whole_script_is_read() -> None:
    script = read_script(
        json.dumps(
            {
                "seed": 7,
                "personas": [
                    {
                        "domains": ["*.slow.test", "slow.test"],
                        "name": "slow",
                        "rules": [rule(enhanced="4.7.1", text="later", share=0.5, first_attempts=2, close=True)],
                        "latency_ms": 20,
                        "dot_latency_ms": 300.5,
                        "tarpit_ms_per_rcpt": 5,
                        "greylist_s": 60,
                        "drop_mid_data": 0.1,
                        "drop_after_dot": 0.2,
                    },
                    {"domains": ["*"], "rules": [{"stage": "connect", "code": 421}]},
                ],
                "connection_cap": 10,
            }
        )
    )
    assert script.personas[0].rules == (
        Rule(
            stage=Stage.RCPT,
            code=451,
            enhanced="4.7.1",
            text="later",
            share=0.5,
            first_attempts=2,
            close=True,
        ),
    )
    assert script.connection_cap == 10
    assert script.personas[1].domains == ("*",)


@pytest.mark.parametrize(
    ("bad", "complaint"),
    [
        ({"personas": [persona(rules=[rule(code=250)])]}, "$.personas[0].rules[0].code"),
        ({"personas": [persona(rules=[rule(code=600)])]}, "$.personas[0].rules[0].code"),
        ({"personas": [persona(rules=[rule(stage="vrfy")])]}, "$.personas[0].rules[0].stage"),
        ({"personas": [persona(rules=[rule(share=1.1)])]}, "$.personas[0].rules[0].share"),
        ({"personas": [persona(rules=[rule(first_attempts=0)])]}, "$.personas[0].rules[0].first_attempts"),
        ({"personas": [persona(rules=[rule(enhanced="4.7")])]}, "the form 4.7.1"),
        ({"personas": [persona(rules=[rule(enhanced="5.7.1")])]}, "contradicts code 451"),
        ({"personas": [persona(rules=[rule(text="a\r")])]}, "printable ASCII"),
        ({"personas": [persona(rules=[rule(text="é")])]}, "printable ASCII"),
        ({"personas": [persona(rules=[rule(text="x" * 481)])]}, "at most 480"),
        ({"personas": [persona(), persona(drop_mid_data=-0.1)]}, "$.personas[1].drop_mid_data"),
        ({"personas": [persona(latency_ms=-1)]}, "$.personas[0].latency_ms"),
        ({"personas": [persona(greylist_s="60")]}, "$.personas[0].greylist_s"),
        ({"personas": [persona(speed=9)]}, "unknown field `speed` - at `$.personas[0]`"),
        ({"personas": [{"rules": []}]}, "a persona needs domains or hosts - at `$.personas[0]`"),
        ({"personas": [persona(domains=[])]}, "$.personas[0]"),
        ({"personas": [persona(domains=["X.test"])]}, "lower case"),
        ({"personas": [persona(domains=["a@x.test"])]}, "without @"),
        ({"personas": [persona(rules=[rule(stage="connect")])]}, 'with "domains": ["*"], can have it'),
        ({"personas": [persona(rules=[rule(), rule(stage="mail")])]}, "rules[1] is at stage mail"),
        ({"personas": [persona(domains=["*"]), persona()]}, "personas[1] is never reached"),
        ({"connection_cap": 0}, "$.connection_cap"),
        ({"size_limit": 0}, "$.size_limit"),
        ({"seeds": 1}, "unknown field `seeds`"),
    ],
)
def test_a_bad_script_is_refused_with_the_place_of_the_mistake(bad: dict[str, object], complaint: str) -> None:
    for source in (bad, json.dumps(bad), json.dumps(bad).encode()):
        with pytest.raises(ScriptError) as refused:
            read_script(source)
        assert complaint in str(refused.value)


@pytest.mark.parametrize("text", [b"", b"{", b"[]", b"null", b'"x"', b"\xff"])
def test_what_is_no_script_at_all_is_refused(text: bytes) -> None:
    with pytest.raises(ScriptError):
        read_script(text)


def test_a_script_built_in_python_is_checked_too() -> None:
    wrong = Script(personas=(Persona(domains=("x.test",), drop_after_dot=3),))
    with pytest.raises(ScriptError, match="drop_after_dot"):
        read_script(wrong)


def test_the_script_in_the_readme_can_be_played() -> None:
    readme = Path(__file__).parents[2] / "README.md"
    shown = re.search(r"```json\n(.*?)```", readme.read_text(), re.DOTALL)
    assert shown is not None
    assert [persona.domains[0] for persona in read_script(shown[1]).personas] == [
        "greylisting.test",
        "*.flaky.test",
        "crash.test",
        "*",
    ]


def test_the_toml_in_the_readme_can_be_played_and_every_persona_is_named_there() -> None:
    readme = (Path(__file__).parents[2] / "README.md").read_text()
    shown = re.search(r"```toml\n(.*?)```", readme, re.DOTALL)
    assert shown is not None
    script = read_toml(shown[1].encode())
    assert [persona.name for persona in script.personas] == ["google", "greylister"]
    assert (script.timeline[0].at_s, script.timeline[0].for_s) == (60, 120)
    listed = re.search(r"explains them: (.*?)\. By domain", readme, re.DOTALL)
    assert listed is not None
    assert sorted(built_in_personas()) == sorted(re.split(r",\s+", listed[1]))
    fields = re.search(r"\| field of a persona.*?\n\n", readme, re.DOTALL)
    assert fields is not None
    told = set(re.findall(r"`(\w+)`", fields[0])) | {"name", "domains", "hosts", "rules"}
    assert {field.name for field in msgspec.structs.fields(Persona)} <= told
