"""What follows DATA."""

import pytest

from mailwarren.bench.injector import dot_stuffed


@pytest.mark.parametrize(
    ("message", "wire"),
    [
        (b"a: b\r\n\r\nhi\r\n", b"a: b\r\n\r\nhi\r\n.\r\n"),
        (b"a: b\r\n\r\nhi", b"a: b\r\n\r\nhi\r\n.\r\n"),
        (b"a: b\r\n\r\n.\r\n..x\r\ny.z\r\n", b"a: b\r\n\r\n..\r\n...x\r\ny.z\r\n.\r\n"),
        (b".a: b\r\n\r\n", b"..a: b\r\n\r\n.\r\n"),
    ],
)
def test_leading_dots_are_doubled_and_the_final_dot_stands_alone(message: bytes, wire: bytes) -> None:
    assert dot_stuffed(message) == wire
