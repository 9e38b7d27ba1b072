"""Py-spy's collapsed stacks, read and shown."""

from mailwarren.bench.profile import read_collapsed, shown

STACKS = """main (a.py:1);work (b.py:2);write (c.py:3) 6
main (a.py:1);work (b.py:2) 3
main (a.py:1);walk (d.py:4);walk (d.py:4) 1
"""


def test_own_time_is_the_innermost_function_and_recursion_counts_once():
    profile = read_collapsed(STACKS)
    assert profile.samples == 10
    assert profile.own == {"write (c.py:3)": 6, "work (b.py:2)": 3, "walk (d.py:4)": 1}
    assert profile.with_callees["main (a.py:1)"] == 10
    assert profile.with_callees["work (b.py:2)"] == 9
    assert profile.with_callees["walk (d.py:4)"] == 1


def test_the_costliest_come_first_with_their_shares():
    lines = shown("sender", read_collapsed(STACKS), 1).splitlines()
    assert lines == [
        "sender: 10 samples", "  own", "     60.0%  write (c.py:3)", "  with callees", "    100.0%  main (a.py:1)",
    ]  # fmt: skip


def test_a_process_that_slept_has_no_costliest():
    assert shown("idle", read_collapsed(""), 5).splitlines() == ["idle: 0 samples", "  own", "  with callees"]
