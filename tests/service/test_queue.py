from collections.abc import Iterator

import pytest

from bge_cpu.service.queue import Queue
from bge_cpu.service.refused import Refused


@pytest.fixture
def clock() -> Iterator[list[float]]:
    yield [0.0]


def test_room_is_taken_and_given_back() -> None:
    queue = Queue(100)
    with queue.hold(60):
        assert queue.tokens == 60
        with pytest.raises(Refused) as refused, queue.hold(41):
            pass
        assert (refused.value.status, refused.value.kind) == (429, "overloaded")
        with queue.hold(40):
            assert queue.full
    assert queue.tokens == 0
    assert not queue.full


def test_what_never_fits_is_too_large_and_not_a_matter_of_time() -> None:
    with pytest.raises(Refused) as refused, Queue(100).hold(101):
        pass
    assert refused.value.status == 413
    assert "Retry-After" not in refused.value.headers


def test_requests_are_bounded_whatever_their_size() -> None:
    queue = Queue(100, max_requests=1)
    queue.enter()
    with pytest.raises(Refused) as refused:
        queue.enter()
    assert refused.value.status == 429
    queue.leave()
    queue.enter()


def test_room_is_given_back_after_an_error() -> None:
    queue = Queue(100)
    with pytest.raises(KeyError), queue.hold(100):
        raise KeyError
    assert queue.tokens == 0


def test_retry_after_follows_the_rate_so_far(clock: list[float]) -> None:
    queue = Queue(1000, clock=lambda: clock[0])
    with queue.hold(100):
        clock[0] += 2.0  # 50 tokens a second
    with queue.hold(1000), pytest.raises(Refused) as refused, queue.hold(1):
        pass
    assert refused.value.headers == {"Retry-After": "20"}


def test_retry_after_is_between_1_and_60() -> None:
    queue = Queue(10, max_requests=0)
    with pytest.raises(Refused) as refused:
        queue.enter()
    assert refused.value.headers == {"Retry-After": "1"}
    slow = [0.0]
    queue = Queue(10, clock=lambda: slow[0])
    with queue.hold(1):
        slow[0] += 1000
    with queue.hold(10), pytest.raises(Refused) as refused:
        queue.enter()
    assert refused.value.headers == {"Retry-After": "60"}
