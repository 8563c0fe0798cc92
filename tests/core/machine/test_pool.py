"""The pool that calls share fairly."""

import gc
import subprocess
import sys
import threading
from collections.abc import Iterator

import pytest

from bge_cpu.machine.pool import FairPool, _Call, _Queue


@pytest.fixture
def pool() -> Iterator[FairPool]:
    yield FairPool(2, "test-pool")


def test_results_stand_in_the_items_order(pool: FairPool) -> None:
    assert pool.map(lambda number: number * number, range(100)) == [number * number for number in range(100)]
    assert pool.map(str, []) == []


def test_a_short_call_is_not_held_up_by_a_long_one() -> None:
    pool, order, started, go = FairPool(1, "test-pool"), [], threading.Event(), threading.Event()

    def long(number: int) -> None:
        started.set()
        go.wait(10)
        order.append(f"long {number}")

    def short(number: int) -> None:
        order.append(f"short {number}")

    first = threading.Thread(target=pool.map, args=(long, range(50)))
    first.start()
    assert started.wait(10)
    second = threading.Thread(target=pool.map, args=(short, range(3)))
    second.start()
    while not pool._queue._new:
        pass
    go.set()
    second.join(10)
    first.join(10)
    assert order[:7] == ["long 0", "short 0", "long 1", "short 1", "long 2", "short 2", "long 3"]
    assert len(order) == 53


def test_new_calls_come_first_but_leave_turns_to_old_ones() -> None:
    queue, long = _Queue(None, 2), _Call(str, range(9))
    queue.add(long, lambda: None)
    taken = [queue.take() for _ in range(3)]
    assert taken == [(long, 0), (long, 1), (long, 2)]
    new = [_Call(str, range(3)), _Call(str, range(1)), _Call(str, range(3))]
    for call in new:
        queue.add(call, lambda: None)
    expected = [(new[0], 0), (new[0], 1), (long, 3), (new[1], 0), (new[2], 0), (new[2], 1)]
    expected += [(new[0], 2), (long, 4), (new[2], 2), (long, 5)]
    assert [queue.take() for _ in expected] == expected


def test_an_error_is_raised_and_what_has_not_begun_is_dropped() -> None:
    pool, seen = FairPool(1, "test-pool"), []

    def fail(number: int) -> None:
        seen.append(number)
        if number == 3:
            raise ValueError("three")

    with pytest.raises(ValueError, match="three"):
        pool.map(fail, range(1000))
    assert seen == [0, 1, 2, 3]
    assert pool.map(str, [1]) == ["1"]


def test_many_calls_at_once_each_get_their_own(pool: FairPool) -> None:
    found: dict[int, list[int]] = {}

    def call(number: int) -> None:
        found[number] = pool.map(lambda item: number * 1000 + item, range(50))

    threads = [threading.Thread(target=call, args=(number,)) for number in range(16)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(20)
    assert found == {number: [number * 1000 + item for item in range(50)] for number in range(16)}


def test_the_threads_end_with_the_pool() -> None:
    pool = FairPool(3, "test-gone")
    pool.map(str, range(10))
    threads = [thread for thread in threading.enumerate() if thread.name.startswith("test-gone")]
    assert len(threads) == 3
    del pool
    gc.collect()
    for thread in threads:
        thread.join(5)
        assert not thread.is_alive()


def test_a_forked_process_exits(pool: FairPool) -> None:
    script = """
import os
from bge_cpu.machine.pool import FairPool
pool = FairPool(2, "p")
pool.map(str, range(3))
if os.fork() == 0:
    del pool
    raise SystemExit(7)
print(os.waitstatus_to_exitcode(os.wait()[1]))
"""
    done = subprocess.run([sys.executable, "-W", "ignore", "-c", script], capture_output=True, text=True, timeout=60)
    assert (done.returncode, done.stdout, done.stderr) == (0, "7\n", "")


def test_threads_that_outlive_the_main_one_are_served() -> None:
    script = """
import threading, time
from bge_cpu.machine.pool import FairPool
pool = FairPool(2, "p")
def later():
    time.sleep(0.3)
    print(pool.map(str, range(3)))
threading.Thread(target=later).start()
"""
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=60)
    assert (done.returncode, done.stdout, done.stderr) == (0, "['0', '1', '2']\n", "")
