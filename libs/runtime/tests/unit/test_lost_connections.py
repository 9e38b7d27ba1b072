import aiormq
import pytest

from mailwarren.runtime.amqp import is_lost


@pytest.mark.parametrize(
    "error",
    [
        Exception(),  # what aiormq ends a waiting call with when a connection goes without a reason
        ConnectionResetError(),
        TimeoutError(),
        RuntimeError("closed"),
        aiormq.exceptions.ChannelInvalidStateError("closed"),
    ],
)
def test_what_ends_with_a_connection_is_known(error: Exception) -> None:
    assert is_lost(error)


@pytest.mark.parametrize("error", [ValueError("ours"), KeyError("ours"), TypeError("ours")])
def test_a_fault_of_ours_is_not_taken_for_it(error: Exception) -> None:
    assert not is_lost(error)
