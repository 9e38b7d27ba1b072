"""The cycle collector as servers have it."""

import subprocess
import sys

PROGRAM = """
import gc
import weakref

from mailwarren.runtime.collector import YOUNG, calm_collector

class Knot:
    def __init__(self):
        self.me = self

before = gc.get_freeze_count()
calm_collector()
print(gc.get_freeze_count() > before, gc.get_threshold()[0] == YOUNG)

knots = 0

def gone(_):
    global knots
    knots -= 1

seen = []
most = 0
for _ in range(10 * YOUNG):
    knot = Knot()
    knots += 1
    seen.append(weakref.ref(knot, gone))
    most = max(most, knots)
print(most > 700, most <= 2 * YOUNG)
"""


def test_what_exists_is_frozen_and_new_cycles_are_still_collected_less_often() -> None:
    # A process of its own: the collector's settings are the process's.
    done = subprocess.run([sys.executable, "-c", PROGRAM], capture_output=True, text=True, timeout=60, check=True)
    assert done.stdout.split() == ["True"] * 4
