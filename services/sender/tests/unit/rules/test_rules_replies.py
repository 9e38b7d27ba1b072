"""``replies.toml``: every built-in rule reads its examples, an operator's rules come first, and what is refused."""

import time
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mailwarren.contracts.events import Kind
from mailwarren.contracts.reply import Command, Reply
from mailwarren.contracts.shaping import Scope
from mailwarren.sender.domain.actions import Action
from mailwarren.sender.domain.classify import LONGEST_READ, Rule, find_rule, read_reply
from mailwarren.sender.rules.book import built_in
from mailwarren.sender.rules.document import RulesError
from mailwarren.sender.rules.patterns import MOST_WAYS, compile_pattern, count_ways
from mailwarren.sender.rules.replies import parse_example, read_replies, read_rules

OURS = read_rules(built_in("replies"))
RULES = tuple(rule for rule, _ in OURS)


@pytest.mark.parametrize(("rule", "examples"), OURS, ids=[f"{n}-{one.bounce_class}" for n, (one, _) in enumerate(OURS)])
def test_every_built_in_rule_reads_its_examples(rule: Rule, examples: tuple[str, ...]) -> None:
    assert examples
    for line in examples:
        reply = parse_example(line)
        for site in rule.sites or {None}:
            assert find_rule(reply, RULES, site) is rule
            assert read_reply(reply, 1, RULES, site).bounce_class == rule.bounce_class


@pytest.mark.parametrize(("site", "reply"), [(s, e) for r, examples in OURS for s in sorted(r.sites) for e in examples])
def test_what_one_provider_says_does_nothing_to_another(site: str, reply: str) -> None:
    rule = find_rule(parse_example(reply), RULES, "example.org")
    assert rule is None or site not in rule.sites


def test_no_built_in_rule_is_left_out() -> None:
    assert len(OURS) == built_in("replies").count(b"\n[[rules]]\n") >= 40


def test_rules_are_told_apart_at_all_senders() -> None:
    assert len({rule.key for rule in RULES}) == len(RULES)
    assert [rule.key for rule, _ in read_rules(built_in("replies"))] == [rule.key for rule in RULES]


RULE = "[[rules]]\nclass = 'x'\npermanent = 'failed'\n"


@pytest.mark.parametrize(
    ("written", "action"),
    [
        ("{ suspend = '2h' }", Action(7200.0, suspend=True)),
        ("{ suspend = 90 }", Action(90.0, suspend=True)),
        ("{ rate = '1/min', for = '30m' }", Action(1800.0, rate=1 / 60)),
        ("{ connections = 2, for = '5s' }", Action(5.0, connections=2)),
        ("{ rate = 0.5, connections = 1, for = '1h' }", Action(3600.0, rate=0.5, connections=1)),
        ("{ suspend_tenant = '5m' }", Action(300.0, Scope.TENANT, suspend=True)),
    ],
)
def test_actions_are_read(written: str, action: Action) -> None:
    assert own(f"{RULE}text = 'a'\naction = {written}\n")[0].action == action
    counted = own(f"{RULE}text = 'a'\nafter = '3/2m'\naction = {written}\n")[0].action
    assert counted == replace(action, after=3, within=120.0)


def own(text: str) -> tuple[Rule, ...]:
    return read_replies([text.encode(), built_in("replies")])


def test_an_operators_rules_come_first_in_the_order_of_the_file() -> None:
    rules = own(
        "[[rules]]\nclass = 'ours'\npermanent = 'failed'\ntext = 'user unknown'\n"
        "[[rules]]\nclass = 'later'\npermanent = 'deferred'\ntext = 'unknown'\n"
    )
    assert [rule.bounce_class for rule in rules[:2]] == ["ours", "later"]
    assert rules[2:] == RULES
    gone = read_reply(Reply(550, "User unknown", "5.1.1", Command.RCPT), 1, rules)
    assert (gone.kind, gone.bounce_class, gone.suppress) == (Kind.FAILED, "ours", False)
    assert read_reply(Reply(550, "unknown", "5.1.1", Command.RCPT), 1, rules).kind is Kind.DEFERRED
    assert read_reply(Reply(550, "gone", "5.1.1", Command.RCPT), 1, rules).bounce_class == "invalid_recipient"


def test_a_rule_may_go_by_codes_enhanced_codes_and_text_together() -> None:
    (rule, *_) = own(
        "[[rules]]\nclass = 'closed'\npermanent = 'bounced'\nsuppress = true\ncodes = [550, 554]\n"
        "enhanced = '5\\.7\\.[12]'\ntext = 'company (closed|sold)'\nexamples = ['554 5.7.2 Company closed']\n"
    )
    assert rule.suppress
    assert rule.codes == {550, 554}
    assert find_rule(Reply(554, "company sold", "5.7.1"), (rule,))
    assert find_rule(Reply(552, "company sold", "5.7.1"), (rule,)) is None
    assert find_rule(Reply(554, "company sold", "5.7.10"), (rule,)) is None


REFUSED = [
    ("rule = []", "'rule' is no key that this version obeys: rules"),
    ("rules = 1", "[[rules]] are not at most 200 tables"),
    ("rules = [1]", "[[rules]] 1 is not a table"),
    ("[[rules]]\nclass = 'x'\ntext = 'a'", "[[rules]] 1 (x) permanent is missing"),
    ("[[rules]]\npermanent = 'failed'\ntext = 'a'", "[[rules]] 1 class is missing"),
    (RULE, "[[rules]] 1 (x) would fit every reply: give it codes, enhanced or text"),
    (RULE + "text = 'a'\n" + RULE + "txt = 'a'", "[[rules]] 2 'txt' is no key that this version obeys"),
    (RULE + "text = 'a'\naction = 'suspend'", "[[rules]] 1 action: Expected `object`, got `str`"),
    (RULE + "text = 'a'\naction = {}", "[[rules]] 1 (x) action is { suspend = … }, { suspend_tenant = … } or"),
    (RULE + "text = 'a'\naction = { rate = 1 }", "[[rules]] 1 (x) action is { suspend = … }"),
    (RULE + "text = 'a'\naction = { for = '1h' }", "[[rules]] 1 (x) action is { suspend = … }"),
    (RULE + "text = 'a'\naction = { suspend = '1h', rate = 1 }", "[[rules]] 1 (x) action is { suspend = … }"),
    (RULE + "text = 'a'\naction = { suspend = '1h', suspend_tenant = '1h' }", "[[rules]] 1 (x) action is"),
    (RULE + "text = 'a'\naction = { rate = 'none', for = '1h' }", "[[rules]] 1 (x) action is"),
    (RULE + "text = 'a'\naction = { rate = 0, for = '1h' }", "[[rules]] 1 (x) action rate: Expected"),
    (RULE + "text = 'a'\naction = { connections = 0, for = '1h' }", "[[rules]] 1 (x) action connections: Expected"),
    (RULE + "text = 'a'\naction = { suspend = 'soon' }", "[[rules]] 1 (x) action suspend: Expected"),
    (RULE + "text = 'a'\naction = { suspend = '25h' }", "[[rules]] 1 (x) suspend and after are 24 hours at most"),
    (RULE + "text = 'a'\naction = { stop = '1h' }", "[[rules]] 1 (x) action 'stop' is no key that this version"),
    (RULE + "text = 'a'\nafter = '3/1h'", "[[rules]] 1 (x) after is about an action, and there is none"),
    (RULE + "text = 'a'\nafter = 'often'\naction = { suspend = '1h' }", "[[rules]] 1 after: Expected `str`"),
    (RULE + "text = 'a'\nsites = []", "[[rules]] 1 sites: Expected `array` of length >= 1"),
    (RULE + "text = 'a'\nexamples = ['dot 250 a']", "[[rules]] 1 (x) examples: '250 a' is no refusal of a server"),
    (RULE + "text = ''", "[[rules]] 1 text: Expected `str` of length >= 1"),
    (RULE + "text = 5", "[[rules]] 1 text: Expected `str`, got `int`"),
    (RULE + "text = 'a'\nsuppress = 'yes'", "[[rules]] 1 suppress: Expected `bool`, got `str`"),
    (RULE + "text = 'a'\nsuppress = true", "[[rules]] 1 (x) suppress goes with permanent = 'bounced' only"),
    (RULE + "codes = [250]", "[[rules]] 1 codes: Expected `int` >= 400"),
    (RULE + "codes = 550", "[[rules]] 1 codes: Expected `array`, got `int`"),
    (RULE + "codes = []", "[[rules]] 1 codes: Expected `array` of length >= 1"),
    ("[[rules]]\nclass = 'X y'\npermanent = 'failed'\ntext = 'a'", "[[rules]] 1 class: Expected `str` matching regex"),
    (
        "[[rules]]\nclass = 'x'\npermanent = 'delivered'\ntext = 'a'",
        "[[rules]] 1 permanent: expected one of bounced, failed, deferred",
    ),
    (RULE + "text = '('", "[[rules]] 1 (x) text: not a regular expression"),
    (RULE + "text = 'a{99999999999}'", "[[rules]] 1 (x) text: not a regular expression"),
    (RULE + "text = 'a*'", "[[rules]] 1 (x) text: the pattern fits every text"),
    (RULE + "text = '(a+)+$'", "[[rules]] 1 (x) text: the pattern could run for long"),
    (RULE + "enhanced = '(5|.)*'", "[[rules]] 1 (x) enhanced: the pattern could run for long"),
    (RULE + "text = 'a'\nexamples = ['550 b']", "[[rules]] 1 (x) examples: '550 b' is read by no rule"),
    (RULE + "text = 'a'\nexamples = ['250 a']", "[[rules]] 1 (x) examples: '250 a' is no refusal of a server"),
    (RULE + "text = 'a'\nexamples = ['a']", "[[rules]] 1 (x) examples: 'a' is no refusal of a server"),
    (
        RULE + "text = 'a'\n" + RULE + "text = 'ab'\nexamples = ['550 ab']",
        "[[rules]] 2 (x) examples: '550 ab' is read by rule 1 (x)",
    ),
    (RULE + "text = '.*a'\n" + (RULE + "text = 'b.*(c|de)'\n") * 7, "the texts together fit in"),
    ((RULE + "text = 'a'\n") * 201, "[[rules]] are not at most 200 tables"),
]


@pytest.mark.parametrize(("text", "reason"), REFUSED, ids=[text[-40:] for text, _ in REFUSED])
def test_what_cannot_be_obeyed_is_refused_by_rule_and_key(text: str, reason: str) -> None:
    with pytest.raises(RulesError) as error:
        own(text)
    assert reason in str(error.value)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("pattern", "ways"),
    [
        ("abc", 1),
        ("[abc]", 1),
        ("a|bc", 2),
        ("a?", 2),
        ("a{2,5}", 4),
        (".{0,40}", 41),
        ("a.{0,40}b.{0,40}c", 1681),
        ("(ab|cd)(ef|gh)", 4),
        ("(ab|cd){2}", 4),
        ("(ab|cd){1,2}", 6),
        (".*", LONGEST_READ + 1),
        ("(?:ab)+", LONGEST_READ),
    ],
)
def test_ways_are_counted(pattern: str, ways: int) -> None:
    assert count_ways(pattern) == ways


@pytest.mark.parametrize(
    "pattern",
    [
        "(a+)+b",
        "(a*)*b",
        "(a|aa)+b",
        "(a|a)*b",
        "(.*a){12}",
        ".*.*b",
        "(x+x+)+y",
        "(a?){40}a{40}",
        "(a{1,3}){1,30}b",
        "((a{0,5}){0,5}){0,5}b",
        "(?=a+)b",
        r"(a+)\1b",
        "(?:){1000}a",
        "a{2000}",
        "(?(1)a|b)",
        "(" * 400,
        "a" * 301,
    ],
)
def test_patterns_that_could_run_for_long_are_refused(pattern: str) -> None:
    with pytest.raises(RulesError):
        compile_pattern(pattern)


@pytest.mark.parametrize("pattern", [".*(x|yy)b", "a{1,49}a{1,49}b", "(aa?){3}.{0,300}b", ".*" + "a" * 290 + "b"])
def test_the_longest_runs_of_what_is_accepted_are_short(pattern: str) -> None:
    assert count_ways(pattern) <= MOST_WAYS
    compiled = compile_pattern(pattern)
    began = time.process_time()
    assert compiled.search("a" * LONGEST_READ) is None
    assert time.process_time() - began < 2


@given(pattern=st.text(alphabet="ab|()[]{}*+?.\\^$,0123dw", max_size=25) | st.text(max_size=25))
def test_a_pattern_is_refused_or_ends(pattern: str) -> None:
    try:
        compiled = compile_pattern(pattern)
    except RulesError:
        return
    began = time.process_time()
    for text in ("a" * LONGEST_READ, "ab" * (LONGEST_READ // 2), "0" * LONGEST_READ):
        compiled.search(text)
    assert time.process_time() - began < 2


@given(data=st.binary(max_size=200) | st.text(max_size=200).map(str.encode))
def test_no_file_breaks_the_reader(data: bytes) -> None:
    try:
        rules = read_replies([data])
    except RulesError:
        return
    assert rules == ()
