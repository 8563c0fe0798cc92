import pytest

pytest.importorskip("starlette", reason="needs the extra service")

from bge_cpu.service.queue import Queue
from bge_cpu.service.refused import Refused


def test_room_is_taken_and_given_back() -> None:
    queue = Queue(100)
    place = queue.enter(60)
    assert (queue.tokens, queue.requests) == (60, 1)
    with pytest.raises(Refused) as refused:
        queue.enter(41)
    assert (refused.value.status, refused.value.kind) == (429, "overloaded")
    assert queue.full  # until one has left, also for those that would fit
    with pytest.raises(Refused):
        queue.enter(1)
    place.leave()
    queue.enter(40)
    assert (queue.tokens, queue.requests) == (40, 1)
    assert not queue.full


def test_what_is_counted_takes_the_place_of_what_was_estimated() -> None:
    queue = Queue(100)
    first, second = queue.enter(50), queue.enter(40)
    first.count(60)
    assert queue.tokens == 100
    with pytest.raises(Refused) as refused:
        second.count(41)
    assert refused.value.status == 429
    second.leave()
    first.leave()
    assert (queue.tokens, queue.requests) == (0, 0)


def test_what_never_fits_is_too_large_and_not_a_matter_of_time() -> None:
    queue = Queue(100)
    place = queue.enter(1000)  # a bad estimate is no reason to refuse
    with pytest.raises(Refused) as refused:
        place.count(101)
    assert refused.value.status == 413
    assert "Retry-After" not in refused.value.headers
    place.leave()
    queue.enter(1000).count(100)
    assert queue.tokens == 100


def test_requests_are_bounded_whatever_their_size() -> None:
    queue = Queue(100, max_requests=1)
    place = queue.enter(1)
    with pytest.raises(Refused) as refused:
        queue.enter(1)
    assert refused.value.status == 429
    place.leave()
    queue.enter(1)


@pytest.mark.parametrize(("seconds", "told"), [(2.0, "20"), (0.0, "1"), (1000.0, "60")])
def test_retry_after_follows_the_rate_so_far(seconds: float, told: str) -> None:
    now = [0.0]
    queue = Queue(1000, clock=lambda: now[0])
    place = queue.enter(100)
    place.done = True
    now[0] += seconds
    place.leave()
    queue.enter(1000)
    with pytest.raises(Refused) as refused:
        queue.enter(1)
    assert refused.value.headers == {"Retry-After": told}
