"""The modes against the article's three scripts, on the same 32 real passages, in one run.

    python benchmarks/article.py CHECKPOINT --mode onnx --json article.json

Needs ../shared/data and the dependency group `benchmark`. Every contender lives in a process of its own, loads once and
runs once per round while the others sleep; medians are reported. "Load" is the time from starting the Python
interpreter to the first score of one pair, files in the page cache. No pair exceeds 512 tokens, so nothing is cut.
"""

import argparse
import contextlib
import gzip
import hashlib
import json
import os
import random
import re
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from importlib.metadata import version
from pathlib import Path
from statistics import fmean, median
from typing import Any

Pair = tuple[str, str]
Scorer = Callable[[Sequence[Pair]], list[float]]
Runner = Callable[[Any], list[float]]  # from a tokenised batch to its scores

DATA = Path(__file__).resolve().parents[2] / "shared/data/eval"
ARTICLE = ("article-fp32", "article-int8", "article-onnx")
PASSAGES, SHORTEST, LONGEST, MEAN = 32, 108, 512, 238
BATCH = 8
PADDING = 1.63  # tokens with padding over tokens without, in batches of 8: the mean of random draws from the data
FRESH_STARTS = 3
SETTLE = 1.0  # seconds; the thread pool that ran last may spin for a while

# In a child. Each imports its own framework only, hence the imports inside.


def load(contender: str, checkpoint: Path, work: Path, threads: int | None) -> Scorer:
    """Load one of the article's scripts, or a mode of bge-cpu."""
    if contender not in ARTICLE:
        from bge_cpu import Reranker  # noqa: PLC0415

        return Reranker.load(checkpoint, mode=contender, threads=threads, min_fidelity=None).score
    from transformers import AutoTokenizer  # noqa: PLC0415

    tokenizer = AutoTokenizer.from_pretrained(checkpoint)
    if contender == "article-onnx":
        run, tensors = load_ort(work, threads)
    else:
        run, tensors = load_torch(checkpoint, threads, int8=contender == "article-int8")

    def score(pairs: Sequence[Pair]) -> list[float]:
        """Score padded batches of 8, in the given order."""
        scores: list[float] = []
        for start in range(0, len(pairs), BATCH):
            batch = list(pairs[start : start + BATCH])
            scores += run(tokenizer(batch, padding=True, truncation=True, max_length=512, return_tensors=tensors))
        return scores

    return score


def load_torch(checkpoint: Path, threads: int | None, *, int8: bool) -> tuple[Runner, str]:
    """The article's PyTorch model, in float32 or with every linear layer quantised dynamically."""
    import torch  # noqa: PLC0415
    from transformers import AutoModelForSequenceClassification  # noqa: PLC0415

    torch.set_num_threads(threads or torch.get_num_threads())
    model = AutoModelForSequenceClassification.from_pretrained(checkpoint, dtype=torch.float32).eval()
    if int8:
        model = torch.ao.quantization.quantize_dynamic(model, {torch.nn.Linear}, dtype=torch.qint8)
    return torch.no_grad()(lambda inputs: model(**inputs).logits.flatten().tolist()), "pt"


def load_ort(work: Path, threads: int | None) -> tuple[Runner, str]:
    """The article's ONNX Runtime session, with default options."""
    import onnxruntime  # noqa: PLC0415

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads or options.intra_op_num_threads
    session = onnxruntime.InferenceSession(work / "model.onnx", options)
    names = [node.name for node in session.get_inputs()]
    return lambda inputs: session.run(None, {name: inputs[name] for name in names})[0].flatten().tolist(), "np"


def export(checkpoint: Path, work: Path) -> None:
    """Export the checkpoint as PyTorch does by default, into a folder that appears when it is whole."""
    import torch  # noqa: PLC0415
    from transformers import AutoModelForSequenceClassification  # noqa: PLC0415

    model = AutoModelForSequenceClassification.from_pretrained(checkpoint, dtype=torch.float32).eval()
    inputs = {"input_ids": torch.full((2, 16), 5), "attention_mask": torch.ones(2, 16, dtype=torch.int64)}
    axes = {name: {0: torch.export.Dim("batch"), 1: torch.export.Dim("sequence")} for name in inputs}
    work.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=work.parent) as part:
        folder = Path(part, "export")
        folder.mkdir()
        names = {"input_names": list(inputs), "output_names": ["logits"]}
        torch.onnx.export(model, f=folder / "model.onnx", kwargs=inputs, dynamic_shapes=axes, dynamo=True, **names)
        folder.rename(work)


def serve(contender: str, checkpoint: Path, work: Path, threads: int | None, *, together: bool) -> None:
    """Load and score one pair, warm up, then run for every line on stdin; answer each of these with a line of JSON.

    With `together`, no pair is scored alone: a lone pair may take memory of its own, for running on all cores.
    """
    answers = os.fdopen(os.dup(1), "w", buffering=1)
    os.dup2(2, 1)  # what libraries print is no answer
    pairs = [(query, passage) for query, passage in json.loads(sys.stdin.readline())]
    score = load(contender, checkpoint, work, threads)
    print(json.dumps({"first": score(pairs[: 8 if together else 1])}), file=answers)
    print(json.dumps({"warm_up": score(pairs[1:4])}), file=answers)
    for _ in sys.stdin:
        start = time.perf_counter()
        scores = score(pairs)
        seconds = time.perf_counter() - start
        memory = dict(re.findall(r"(\w+):\s+(\d+) kB", Path("/proc/self/status").read_text()))
        peak, anon = (int(memory[name]) * 1024 / 1e9 for name in ("VmHWM", "RssAnon"))
        answer = {"seconds": seconds, "vmhwm_gb": peak, "anon_gb": anon, "scores": scores}
        print(json.dumps(answer), file=answers)


# In the parent.


class Contender:
    """A child process, loaded and warm, that scores the pairs whenever asked to."""

    def __init__(self, arguments: Sequence[str], pairs: Sequence[Pair]) -> None:
        self.rounds: list[dict[str, Any]] = []
        self._log = tempfile.TemporaryFile()  # noqa: SIM115 (as long as the child)
        command, pipe = [sys.executable, __file__, *arguments], subprocess.PIPE
        start = time.perf_counter()
        self._child = subprocess.Popen(command, stdin=pipe, stdout=pipe, stderr=self._log, text=True, bufsize=1)
        self._ask(json.dumps(pairs))
        self.load_seconds = time.perf_counter() - start
        self._answer()

    def run(self) -> dict[str, Any]:
        """One round: seconds, VmHWM, scores, and the share of the CPUs that all other processes took meanwhile."""
        time.sleep(SETTLE)
        start, before = time.perf_counter(), self._others_seconds()
        answer = self._ask("go")
        capacity = (time.perf_counter() - start) * (os.cpu_count() or 1)
        self.rounds.append(answer | {"others_share": max(0.0, (self._others_seconds() - before) / capacity)})
        return self.rounds[-1]

    def close(self) -> None:
        """Let the child end."""
        self._child.communicate()

    def _ask(self, line: str) -> dict[str, Any]:
        with contextlib.suppress(BrokenPipeError):
            print(line, file=self._child.stdin)
        return self._answer()

    def _answer(self) -> dict[str, Any]:
        line = self._child.stdout.readline() if self._child.stdout else ""
        if not line:
            self._log.seek(0)
            raise SystemExit(f"{self._child.args!r} failed:\n{self._log.read().decode()}")
        return json.loads(line)

    def _others_seconds(self) -> float:
        """CPU time taken by everyone but the child: user, nice, system, interrupts, and what the host stole."""
        everyone = Path("/proc/stat").read_text().split(maxsplit=9)
        child = Path(f"/proc/{self._child.pid}/stat").read_text().rpartition(")")[2].split()
        ticks = sum(int(everyone[field]) for field in (1, 2, 3, 6, 7, 8)) - int(child[11]) - int(child[12])
        return ticks / os.sysconf("SC_CLK_TCK")


def choose_pairs(checkpoint: Path) -> tuple[list[Pair], list[int]]:
    """32 passages for one query and the pairs' lengths in tokens: a typical draw, with a fixed seed."""
    from tokenizers import Tokenizer  # noqa: PLC0415

    tokenizer = Tokenizer.from_file(str(checkpoint / "tokenizer.json"))
    query = json.loads((DATA / "cranfield/queries.jsonl").read_text(encoding="utf-8").splitlines()[0])["text"]
    pairs: list[Pair] = []
    for name in ("cranfield", "xquad_en", "xquad_zh"):
        with gzip.open(DATA / name / "corpus.jsonl.gz", "rt", encoding="utf-8") as lines:
            pairs += [(query, json.loads(line)["text"]) for line in lines]
    lengths = [len(encoding) for encoding in tokenizer.encode_batch(pairs)]
    fitting = [item for item in zip(pairs, lengths, strict=True) if SHORTEST <= item[1] <= LONGEST]
    rng = random.Random(0)
    while True:
        drawn, lengths = zip(*rng.sample(fitting, PASSAGES), strict=True)
        if abs(fmean(lengths) - MEAN) <= 2 and abs(padding(lengths) - PADDING) <= 0.02:
            return list(drawn), list(lengths)


def padding(lengths: Sequence[int]) -> float:
    """Tokens with the article's padding over tokens without."""
    return sum(max(lengths[start : start + BATCH]) * BATCH for start in range(0, PASSAGES, BATCH)) / sum(lengths)


def export_once(checkpoint: Path, base: Path) -> Path:
    """The folder of this very checkpoint's export, made if need be; all its files are in the page cache afterwards."""
    files = sorted(file for file in checkpoint.iterdir() if file.is_file())
    stamp = repr([(file.name, file.stat().st_size, file.stat().st_mtime_ns) for file in files])
    work = base / hashlib.sha256(stamp.encode()).hexdigest()[:12]
    if not work.is_dir():
        print(f"exporting to {work} ...")
        command = [sys.executable, __file__, str(checkpoint), "--work", str(work), "--contender", "export"]
        result = subprocess.run(command, capture_output=True, text=True)
        if result.returncode:
            raise SystemExit(f"the export failed:\n{result.stderr}")
    subprocess.run(["cat", *files, *work.iterdir()], stdout=subprocess.DEVNULL, check=True)
    return work


def measure(names: Sequence[str], rounds: int, arguments: Sequence[str], pairs: list[Pair]) -> dict[str, Any]:
    """Run the interleaved rounds, then start each mode of ours afresh a few times; the results by contender."""
    commands = {name: [*arguments, "--contender", name] for name in names}
    contenders = {name: Contender(command, pairs) for name, command in commands.items()}
    for number in range(rounds):
        for name, contender in contenders.items():
            done = contender.run()
            ms, others = done["seconds"] / len(pairs) * 1e3, done["others_share"]
            print(f"round {number + 1}: {name:14} {ms:6.0f} ms/pair (others took {others:.0%} of the CPUs)")
    for contender in contenders.values():
        contender.close()
    reference = contenders["article-fp32"].rounds[0]["scores"]
    fp32, int8, ort = (median(done["seconds"] for done in contenders[name].rounds) for name in ARTICLE)
    results: dict[str, Any] = {}
    for name, contender in contenders.items():
        starts = [contender]
        for _ in range(0 if name in ARTICLE else FRESH_STARTS):
            starts.append(Contender(commands[name], pairs))
            starts[-1].run()
            starts[-1].close()
        together = contender
        if name not in ARTICLE:
            together = Contender([*commands[name], "--together"], pairs)
            together.run()
            together.close()
        seconds = median(done["seconds"] for done in contender.rounds)
        scores = [(done["scores"][index], reference[index]) for done in contender.rounds for index in range(len(pairs))]
        results[name] = {
            "ms/pair": seconds / len(pairs) * 1e3,
            "pairs/s": len(pairs) / seconds,
            "x fp32": fp32 / seconds,
            "x int8": int8 / seconds,
            "x onnx": ort / seconds,
            "GB": max(done["vmhwm_gb"] for start in starts for done in start.rounds),
            "GB together": together.rounds[0]["vmhwm_gb"],
            "anon": max(done["anon_gb"] for start in starts for done in start.rounds),
            "load": median(start.load_seconds for start in starts),
            "diff": max(abs(one - other) for one, other in scores),
            "others": max(done["others_share"] for done in contender.rounds),
            "starts": [{"load_seconds": start.load_seconds, "rounds": start.rounds} for start in starts],
        }
    return results


def show(results: dict[str, Any]) -> None:
    """Print the table."""
    from rich.console import Console  # noqa: PLC0415
    from rich.table import Table  # noqa: PLC0415

    formats = {"ms/pair": ".0f", "pairs/s": ".2f", "x fp32": ".2f", "x int8": ".2f", "x onnx": ".2f", "GB": ".2f"}
    formats |= {"GB together": ".2f", "anon": ".2f", "load": ".2f", "diff": ".0e", "others": ".0%"}
    table = Table("", box=None, pad_edge=False)
    for column in formats:
        table.add_column(column, justify="right")
    for name, result in results.items():
        table.add_row(name, *(format(result[column], style) for column, style in formats.items()))
    Console().print(table)
    print(
        "x: times as fast as the article's scripts. GB: peak resident memory (VmHWM); mapped files count as far as\n"
        "the kernel mapped them, which depends on how the page cache was filled; together: in a process that scored\n"
        "no pair alone; anon: without mapped files, after a round.\n"
        "load: seconds to the first score. diff: the largest difference of a score to article-fp32.\n"
        "others: other processes' share of the CPUs in the worst round; above 5% run again."
    )


def main() -> None:
    """Run the benchmark, or one of its children."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("checkpoint", type=Path)
    parser.add_argument("--mode", action="append", help="a mode of bge-cpu; repeatable (default: onnx)")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--threads", type=int, help="for every contender (default: what each takes by itself)")
    parser.add_argument("--json", type=Path, help="write all that was measured to this file")
    parser.add_argument("--work", type=Path, help="where the ONNX export goes (default: CHECKPOINT/article-onnx)")
    parser.add_argument("--contender", help=argparse.SUPPRESS)
    parser.add_argument("--together", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.contender == "export":
        return export(options.checkpoint, options.work)
    if options.contender:
        return serve(options.contender, options.checkpoint, options.work, options.threads, together=options.together)
    if not DATA.is_dir():
        parser.error(f"no evaluation data at {DATA}: put the folder `shared` beside the repository")
    work = export_once(options.checkpoint, options.work or options.checkpoint / "article-onnx")
    pairs, lengths = choose_pairs(options.checkpoint)
    packages = ("torch", "transformers", "onnxruntime", "tokenizers", "bge-cpu")
    about = {
        "cpu": re.findall(r"model name\s*: (.*)", Path("/proc/cpuinfo").read_text())[:1],
        "cores": len(os.sched_getaffinity(0)),
        "threads": options.threads or "default",
        "versions": {"python": sys.version.split()[0]} | {name: version(name) for name in packages},
        "pairs": PASSAGES,
        "tokens": {"min": min(lengths), "mean": fmean(lengths), "max": max(lengths)},
        "padding in batches of 8": f"{padding(lengths):.2f} times the tokens",
    }
    print(*(f"{name}: {value}" for name, value in about.items()), sep="\n")
    threads = ["--threads", str(options.threads)] if options.threads else []
    names = [*ARTICLE, *dict.fromkeys(options.mode or ["onnx"])]
    results = measure(names, options.rounds, [str(options.checkpoint), "--work", str(work), *threads], pairs)
    show(results)
    if options.json:
        options.json.write_text(json.dumps(about | {"lengths": lengths, "contenders": results}, indent=1))


if __name__ == "__main__":
    main()
