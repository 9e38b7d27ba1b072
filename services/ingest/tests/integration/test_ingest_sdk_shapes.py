"""The walker over the SDK's types finds every kind of difference; and the answers of sending and of keys have none."""

from typing import Any, Dict, List, Literal, NotRequired, Optional, Union  # noqa: UP035 - as the SDK writes them

import pytest
import resend
from resend.emails._batch import Batch
from resend.emails._emails import Emails
from sdk_shapes import check
from typing_extensions import TypedDict


class Inner(TypedDict):
    name: str
    count: NotRequired[int]


class Base(TypedDict):
    id: str
    http_headers: NotRequired[Dict[str, str]]  # noqa: UP006


class Outer(Base):
    ratio: float
    word: Optional[str]  # noqa: UP045
    side: Literal["left", "right"]
    either: Union[str, int]  # noqa: UP007
    data: List[Inner]  # noqa: UP006
    by_name: Dict[str, Inner]  # noqa: UP006
    anything: Any


GOOD = {
    "id": "1", "ratio": 1, "word": None, "side": "left", "either": 2, "data": [{"name": "x"}], "by_name": {},
    "anything": [object()],
}  # fmt: skip


def test_an_answer_as_the_type_has_it_passes():
    check(GOOD, Outer)
    full = {"by_name": {"a": {"name": "x", "count": 3}}, "http_headers": {"a": "b"}, "word": "w", "ratio": 0.5}
    check(GOOD | full, Outer)


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"id": 7}, "id: 7 is int, not str"),
        ({"id": None}, "id: None is NoneType, not str"),
        ({"more": 1}, "more: unknown to the SDK"),
        ({"ratio": True}, "ratio: True is bool, not float"),
        ({"word": 1}, "word: 1 is int"),
        ({"side": "up"}, "side: 'up' is none of"),
        ({"either": 0.5}, "either: 0.5 is float"),
        ({"either": True}, "either: True is bool"),
        ({"data": {}}, "data: {} is no list"),
        ({"data": []}, "data: an empty list"),
        ({"data": [{"name": "x"}, {"count": 1}]}, "data.name: missing"),
        ({"data": [{"name": "x", "count": "1"}]}, "data.count: '1' is str, not int"),
        ({"data": ["x"]}, "data: 'x' is no object"),
        ({"by_name": {"a": {"name": 1}}}, "by_name.a.name: 1 is int"),
        ({"by_name": []}, r"by_name: \[\] is no object"),
    ],
)
def test_every_kind_of_difference_is_found(change, says):
    with pytest.raises(AssertionError, match=says):
        check(GOOD | change, Outer)


def test_what_is_missing_and_what_is_out_of_date_is_found():
    with pytest.raises(AssertionError, match="side: missing"):
        check({key: value for key, value in GOOD.items() if key != "side"}, Outer)
    check(GOOD | {"id": None, "data": [{"name": "x", "extra": 1}]}, Outer, nulls={"id"}, ours={"data.extra"})
    with pytest.raises(AssertionError, match=r"data\.extra: said to be ours, but not in the answer"):
        check(GOOD, Outer, ours={"data.extra"})


@pytest.mark.usefixtures("sdk", "queues")
async def test_sending_answers_as_the_sdk_types_it(mail):
    check(resend.Emails.send(mail), Emails.SendResponse)
    check(await resend.Emails.send_async(mail), Emails.SendResponse)
    check(resend.Batch.send([mail, mail]), Batch.SendResponse)
    permissive = await resend.Batch.send_async([mail, mail | {"to": "nobody"}], {"batch_validation": "permissive"})
    assert permissive["errors"]
    check(permissive, Batch.SendResponse)


@pytest.mark.usefixtures("sdk")
async def test_keys_answer_as_the_sdk_types_it():
    made = resend.ApiKeys.create({"name": "CI"})
    check(made, resend.ApiKeys.CreateApiKeyResponse)
    ours = {"data.permission", "data.domains", "data.prefix"}
    check(resend.ApiKeys.list(), resend.ApiKeys.ListResponse, ours=ours)
    check(await resend.ApiKeys.list_async({"limit": 1}), resend.ApiKeys.ListResponse, ours=ours)
    check(resend.ApiKeys.update({"id": made["id"], "name": "deploy"}), resend.ApiKeys.UpdateApiKeyResponse)
    check(resend.ApiKeys.remove(made["id"]), resend.ApiKeys.DeleteApiKeyResponse)
