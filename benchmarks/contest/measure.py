"""The run: contenders loaded one after another, interleaved rounds over each work, then fresh starts."""

from collections.abc import Callable, Sequence
from statistics import median

from contest.child import Pair
from contest.entrant import Entrant
from contest.processes import available_gb
from contest.works import Work


def measure(
    entrants: Sequence[Entrant],
    works: Sequence[Work],
    *,
    rounds: int,
    first: Sequence[Pair],
    sample: list[Pair],
    reserve_gb: float,
    save: Callable[[], None],
) -> None:
    """Let all entrants score all works; what they measured is theirs to keep.

    Args:
        entrants: The first is the baseline.
        works: What is scored.
        rounds: How many for each work, and how many fresh starts.
        first: The pairs of the first call, and so of the load time.
        sample: Pairs that are scored untimed, if any.
        reserve_gb: What must be free before another one is loaded; if it is not, the rest form a further group.
        save: Called whenever a work is done.
    """
    baseline, waiting = entrants[0], [entrant for entrant in entrants[1:] if not entrant.failed]
    while not baseline.failed and (waiting or not baseline.rounds):
        group = [baseline]
        baseline.load(first)
        while waiting and (len(group) == 1 or available_gb() >= reserve_gb):
            group.append(waiting.pop(0))
            print(f"loading {group[-1].name} ...", flush=True)
            group[-1].load(first)
        for work in works:
            interleave(group, work, rounds)
            save()
        for entrant in [entrant for entrant in group if sample and not entrant.logits]:
            print(f"fidelity of {entrant.name} ...", flush=True)
            entrant.score(sample)
        for entrant in group:
            entrant.close()
    for entrant in entrants:
        print(f"fresh starts of {entrant.name} ...", flush=True)
        for _ in range(rounds):
            entrant.fresh_start(first)
    save()


def interleave(group: Sequence[Entrant], work: Work, rounds: int) -> None:
    """The rounds of a work by turns; the first of the group is the baseline."""
    for number in range(rounds):
        print(f"({work.name}) round {number + 1}", flush=True)
        for entrant in group:
            entrant.round(work)
    seconds = [found["seconds"] for found in group[0].rounds.get(work.name, [])[-rounds:]]
    for entrant in group if seconds else []:
        entrant.baseline.setdefault(work.name, median(seconds))
