"""Work in several threads at once."""

from __future__ import annotations

import threading
import time
from itertools import count

import pytest
import torch

from mbexplore.errors import TextError
from mbexplore.jobs import WORKERS, Stopped, in_threads, report


@pytest.fixture(autouse=True)
def two_threads():
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    yield
    assert torch.get_num_threads() == 2
    torch.set_num_threads(before)


def test_what_is_made_comes_in_order_and_no_more_is_taken_than_is_worked_on():
    taken = []
    items = (taken.append(i) or i for i in count())
    made = in_threads(lambda i: (time.sleep(0.01 * (i % 3 == 0)), i)[1], items)
    for expected in range(12):
        assert next(made) == expected
        assert len(taken) <= expected + 1 + WORKERS
    made.close()


def test_each_has_its_share_of_the_threads_and_two_run_at_once():
    both = threading.Barrier(2, timeout=5)

    def work(_):
        both.wait()
        return torch.get_num_threads()

    assert list(in_threads(work, range(4))) == [1, 1, 1, 1]


def test_an_error_comes_in_its_turn():
    def work(i):
        if i == 2:
            raise TextError("Two.")
        return i

    made = in_threads(work, range(5))
    assert [next(made), next(made)] == [0, 1]
    with pytest.raises(TextError, match="Two"):
        next(made)


def test_what_is_left_early_stops_at_its_next_report():
    ended, begun = [], threading.Event()

    def work(i):
        if not i:
            return i
        begun.set()
        try:
            for step in range(2000):
                time.sleep(0.001)
                report(step, 2000)
        except Stopped:
            ended.append(i)
            raise
        return i

    made = in_threads(work, range(9))
    assert next(made) == 0
    assert begun.wait(5)
    made.close()
    assert ended and set(ended) <= {1, 2}
