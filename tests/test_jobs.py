"""Work in several threads, and in several processes, at once."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from itertools import count
from multiprocessing import active_children

import pytest
import torch

from mbexplore.errors import MbexploreError, TextError
from mbexplore.jobs import FIRST, WORKERS, Stopped, can_fork, in_processes, in_threads, report

on_linux = pytest.mark.skipif(sys.platform != "linux", reason="other systems have threads alone")


@pytest.fixture(autouse=True)
def two_threads():
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    yield
    assert torch.get_num_threads() == 2
    torch.set_num_threads(before)


@pytest.mark.parametrize("run", [in_threads, pytest.param(in_processes, marks=on_linux)])
def test_what_is_made_comes_in_order_and_no_more_is_taken_than_is_worked_on(run):
    taken = []
    items = (taken.append(i) or i for i in count())
    made = run(lambda i: (time.sleep(0.01 * (i % 3 == 0)), i)[1], items)
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


@pytest.mark.parametrize("run", [in_threads, pytest.param(in_processes, marks=on_linux)])
@pytest.mark.parametrize("wrong", [1, FIRST + 1])
def test_an_error_comes_in_its_turn(run, wrong):
    def work(i):
        if i == wrong:
            raise TextError(f"Not {i}.")
        return i

    made = run(work, range(7))
    assert [next(made) for _ in range(wrong)] == list(range(wrong))
    with pytest.raises(TextError, match=rf"^Not {wrong}\.$"):
        next(made)
    assert not active_children()


@on_linux
def test_processes_share_what_the_first_items_load_and_have_a_core_each():
    loaded = []

    def work(i):
        loaded.append(i)
        return os.getpid(), torch.get_num_threads(), loaded[:FIRST]

    assert can_fork()
    made = list(in_processes(work, range(12)))
    assert {process for process, *_ in made[:FIRST]} == {os.getpid()}
    assert len({process for process, *_ in made[FIRST:]}) <= 2
    assert os.getpid() not in {process for process, *_ in made[FIRST:]}
    assert {threads for _, threads, _ in made} == {1}
    assert all(first == list(range(FIRST)) for *_, first in made[FIRST:])


@on_linux
def test_processes_end_when_the_rest_is_not_wanted():
    made = in_processes(lambda i: time.sleep(60 * (i > FIRST)) or i, range(9))
    assert [next(made) for _ in range(FIRST + 1)] == list(range(FIRST + 1))
    begun = time.monotonic()
    made.close()
    assert time.monotonic() - begun < 10 and not active_children()


@on_linux
def test_a_killed_process_is_one_sentence():
    parent = os.getpid()

    def work(i):
        if os.getpid() != parent:
            os.kill(os.getpid(), signal.SIGKILL)
        return i

    made = in_processes(work, range(9))
    assert [next(made) for _ in range(FIRST)] == list(range(FIRST))
    with pytest.raises(MbexploreError, match=r"was killed, .*; give --threads 1"):
        next(made)


@on_linux
def test_processes_end_with_one_that_is_killed():
    program = """
import os, time, torch
from mbexplore.jobs import FIRST, in_processes
torch.set_num_threads(2)
parent = os.getpid()
for process in in_processes(lambda i: os.getpid() if i < 9 else time.sleep(60), range(99)):
    if process != parent:
        print(process, flush=True)
        os.kill(parent, 9)
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert done.returncode == -signal.SIGKILL, done.stderr
    end = time.monotonic() + 10
    while has_process(int(done.stdout)):
        assert time.monotonic() < end
        time.sleep(0.05)


def has_process(number):
    """Whether it runs; one that has ended may wait for somebody to read how."""
    try:
        with open(f"/proc/{number}/stat") as file:
            return file.read().rsplit(")", 1)[1].split()[0] != "Z"
    except FileNotFoundError:
        return False


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
