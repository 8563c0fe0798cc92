"""Lists + base checkpoint -> a small cross-encoder that ranks as the teacher does, and better where labels say so.

    python -m training.train --base SMALL --lists LISTS --run RUN

RUN/log.jsonl has a line per step (loss, learning rate, pairs, pairs cut, seconds) and per validation (held-out loss,
nDCG@10), RUN/plot.png a picture of it, RUN/state.pt all that the run needs to go on. A run that was killed goes on from
its last state to the same losses when it is started again with the same options; with more --steps it gets longer.
"""

import argparse
import time
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import Executor
from pathlib import Path
from typing import Any, TypeVar

import torch
from rich.console import Console
from rich.progress import track

from training import loss, model
from training.lists import Listed, Lists
from training.plot import plot
from training.run import Run
from training.validate import Judged
from training.workers import workers

Item = TypeVar("Item")

WARM_UP = 50  # steps
COOL_DOWN = 0.3  # the share of all steps over which the learning rate falls to zero
LISTS_AT_ONCE = 4  # per thread; a step's lists are a multiple of it
PAIRS_AT_ONCE = 64  # per thread, in validation

# What may change between a run and its resumption.
FREE = ("run", "steps", "threads", "save_every", "validate_every", "validation")


def rate(step: int, steps: int) -> float:
    """The share of the learning rate in a step: it rises at first, stays, and falls to zero at the end.

    >>> [round(rate(step, 1_000), 2) for step in (0, 24, 49, 699, 850, 999)]
    [0.02, 0.5, 1.0, 1.0, 0.5, 0.0]
    """
    return max(0.0, min(1.0, (step + 1) / WARM_UP, (steps - step) / (COOL_DOWN * steps)))


class Training:
    """A model in training: the model, the optimizer and how many steps they have done.

    Args:
        options: As the command has them.
        pool: Threads to compute in.

    Raises:
        ValueError: `lists_per_step` is no multiple of `LISTS_AT_ONCE`.
    """

    def __init__(self, options: argparse.Namespace, pool: Executor) -> None:
        if options.lists_per_step % LISTS_AT_ONCE:
            raise ValueError(f"lists per step are a multiple of {LISTS_AT_ONCE}, not {options.lists_per_step}")
        torch.manual_seed(options.seed)
        self.options, self.pool, self.step = options, pool, 0
        self.lists = Lists(options.lists, "lists", options.candidates)
        self.held_out = Lists(options.lists, "heldout", options.candidates)
        self.model = model.build(options.base, options.layers)
        self.scorer = model.Scorer(self.model, options.base / "tokenizer.json", options.max_length)
        self.trained = [weight for weight in self.model.parameters() if weight.requires_grad]
        self.optimizer = torch.optim.AdamW(self.trained, lr=options.learning_rate, weight_decay=0.01)

    def state(self) -> dict[str, Any]:
        """All that a run needs to go on."""
        return {
            "step": self.step,
            "model": self.model.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "random": torch.get_rng_state(),
        }

    def restore(self, state: dict[str, Any]) -> None:
        """Go on from a state."""
        self.step = state["step"]
        self.model.load_state_dict(state["model"])
        self.optimizer.load_state_dict(state["optimizer"])
        torch.set_rng_state(state["random"])

    def advance(self) -> dict[str, Any]:
        """Do a step; the line for the log."""
        started = time.monotonic()
        listed = self.lists.at(self.step, self.options.lists_per_step, self.options.seed)
        learning_rate = self.options.learning_rate * rate(self.step, self.options.steps)
        for group in self.optimizer.param_groups:
            group["lr"] = learning_rate
        self.model.train()
        lost, cut = 0.0, 0
        for part, part_cut, gradients in self.pool.map(self._gradients, _parts(listed, LISTS_AT_ONCE)):
            share = LISTS_AT_ONCE / len(listed)
            for weight, gradient in zip(self.trained, gradients, strict=True):
                weight.grad = gradient * share if weight.grad is None else weight.grad.add_(gradient, alpha=share)
            lost, cut = lost + part * share, cut + part_cut
        torch.nn.utils.clip_grad_norm_(self.trained, 1.0)
        self.optimizer.step()
        self.optimizer.zero_grad()
        self.step += 1
        return {
            "step": self.step,
            "loss": lost,
            "learning_rate": learning_rate,
            "pairs": sum(len(each.passages) for each in listed),
            "cut": cut,
            "seconds": round(time.monotonic() - started, 2),
        }

    def _gradients(self, listed: Sequence[Listed]) -> tuple[float, int, tuple[torch.Tensor, ...]]:
        lost, cut = self._lost(listed)
        return lost.tolist(), cut, torch.autograd.grad(lost, self.trained)

    def _lost(self, listed: Sequence[Listed]) -> tuple[torch.Tensor, int]:
        """The mean loss over lists, 0-dimensional, and how many pairs were cut."""
        ids, cut = self.scorer.encode([(each.query, passage) for each in listed for passage in each.passages])
        lost = loss.total(
            self.scorer.logits(ids),
            [each.scores for each in listed],
            [each.positive for each in listed],
            temperature=self.options.temperature,
            label_weight=self.options.label_weight,
        )
        return lost, cut

    def check(self, judged: Sequence[Judged]) -> dict[str, Any]:
        """Held-out loss and nDCG@10; the line for the log."""
        self.model.eval()
        held_out = self.held_out.at(0, len(self.held_out), seed=0)
        losses = list(self.pool.map(self._value, _parts(held_out, 1)))
        validation = {each.name: round(each.ndcg(self.score), 4) for each in judged}
        return {"step": self.step, "heldout": sum(losses) / len(losses), "validation": validation}

    def _value(self, listed: Sequence[Listed]) -> float:
        with torch.inference_mode():
            return float(self._lost(listed)[0])

    def score(self, pairs: Sequence[tuple[str, str]]) -> list[float]:
        """The logits of any number of pairs, in their order."""
        ids, _ = self.scorer.encode(pairs)
        return [logit for part in self.pool.map(self._logits, _parts(ids, PAIRS_AT_ONCE)) for logit in part]

    def _logits(self, ids: Sequence[Sequence[int]]) -> list[float]:
        with torch.inference_mode():
            logits: list[float] = self.scorer.logits(ids).tolist()
        return logits


def _parts(items: Sequence[Item], size: int) -> list[Sequence[Item]]:
    return [items[start : start + size] for start in range(0, len(items), size)]


def train(options: argparse.Namespace, pool: Executor) -> Iterator[str]:
    """Start or resume a run and go to its end; says how it stands, line by line."""
    fixed = {name: value for name, value in vars(options).items() if name not in FREE}
    named = {name: str(value.resolve()) if isinstance(value, Path) else value for name, value in fixed.items()}
    run = Run(options.run, named)
    training = Training(options, pool)
    if state := run.restore():
        training.restore(state)
        yield f"resumed after step {training.step:,}"
    judged = [Judged(folder, options.queries, options.depth) for folder in options.validation]
    baselines = {each.name: each.bm25 for each in judged}
    yield f"BM25: {_shown(baselines)}"
    for step in track(range(training.step + 1, options.steps + 1), description="training"):
        run.append(training.advance())
        row = None
        if step % options.validate_every == 0 or step == options.steps:
            row = training.check(judged)
            run.append(row)
        if step % options.save_every == 0 or step == options.steps:
            run.save(training.state())
        if row:
            plot(run.rows(), baselines, run.folder / "plot.png")
            yield f"step {step:,}: {_shown({'held-out loss': row['heldout'], **row['validation']})}"


def _shown(values: Mapping[str, float]) -> str:
    return ", ".join(f"{name} {value:.4f}" for name, value in values.items())


def main() -> None:
    """The command."""
    parser = argparse.ArgumentParser(
        description=str(__doc__).splitlines()[0], formatter_class=argparse.ArgumentDefaultsHelpFormatter
    )
    parser.add_argument("--base", type=Path, required=True, help="encoder checkpoint folder, as trim.py writes it")
    parser.add_argument("--lists", type=Path, required=True, help="folder that prepare.py wrote")
    parser.add_argument("--run", type=Path, required=True, help="folder of the run, new or to be resumed")
    parser.add_argument("--layers", type=int, nargs="+", default=[0, 1, 2, 3, 4, 5], help="layers of the base to keep")
    parser.add_argument("--steps", type=int, default=6_000)
    parser.add_argument("--lists-per-step", type=int, default=8)
    parser.add_argument("--candidates", type=int, default=8, help="per list")
    parser.add_argument("--max-length", type=int, default=320, help="tokens per pair")
    parser.add_argument("--learning-rate", type=float, default=2e-4)
    parser.add_argument("--temperature", type=float, default=0.01, help="of the teacher's scores")
    parser.add_argument("--label-weight", type=float, default=0.2, help="of the labels beside the teacher")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--threads", type=int, help="one per core if not given")
    parser.add_argument("--save-every", type=int, default=50, help="steps")
    parser.add_argument("--validate-every", type=int, default=500, help="steps")
    parser.add_argument("--validation", type=Path, nargs="*", default=[], help="evaluation folders")
    parser.add_argument("--queries", type=int, default=100, help="of each evaluation folder")
    parser.add_argument("--depth", type=int, default=20, help="BM25's candidates to rerank in validation")
    console = Console()
    options = parser.parse_args()
    with workers(options.threads) as pool:
        for line in train(options, pool):
            console.print(line, soft_wrap=True)


if __name__ == "__main__":
    main()
