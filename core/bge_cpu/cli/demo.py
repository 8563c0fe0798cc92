"""`bge-cpu demo`: three questions whose right answer is known, with a picture of the scores.

The first two are from an article on deploying BGE-Reranker-v2-m3 on CPUs; the third is the second one in English.
"""

from dataclasses import dataclass

from rich.console import Console
from rich.text import Text

from bge_cpu.cli.options import LoadOptions, loads_a_model
from bge_cpu.reranker import Reranker


@dataclass(frozen=True)
class Check:
    """A question with documents of which one is the right one.

    Attributes:
        title: What is checked.
        query: The question.
        documents: What is ranked.
        right: The right document's index.
        normalize: As in `Reranker.rank`.
    """

    title: str
    query: str
    documents: tuple[str, ...]
    right: int
    normalize: str | None


BASIC = Check(
    title="basic check; raw logits",
    query="什么是人工智能?",
    documents=("苹果是一种水果,富含维生素C。", "人工智能是让机器模拟人类智能行为的技术。"),
    right=1,
    normalize=None,
)
KEYWORD_TRAP = Check(
    title="keyword trap: 足疗 shares a word with the question; softmax",
    query="如何治疗糖尿病足?",
    documents=(
        "足疗店提供全身按摩服务,包括足部精油护理,缓解疲劳。",
        "糖尿病足患者应注意足部清洁,避免感染,定期检查皮肤破损。",
        "胰岛素注射是控制血糖的重要手段之一,需遵医嘱使用。",
    ),
    right=1,
    normalize="softmax",
)
KEYWORD_TRAP_ENGLISH = Check(
    title="the same trap in English; softmax",
    query="How is a diabetic foot treated?",
    documents=(
        "The foot spa offers full-body massage and foot care with essential oils, to ease fatigue.",
        "Insulin injections are one important means of controlling blood sugar; follow your doctor's advice.",
        "Patients with a diabetic foot should keep their feet clean, avoid infection and check the skin for wounds.",
    ),
    right=2,
    normalize="softmax",
)
CHECKS = (BASIC, KEYWORD_TRAP, KEYWORD_TRAP_ENGLISH)


def show(reranker: Reranker, check: Check, console: Console) -> None:
    """Rank a check's documents and print them with a bar for each score, and whether the right one is first."""
    ranking = reranker.rank(check.query, check.documents, normalize=check.normalize)
    console.print(Text(check.query, style="bold"), Text(f"({check.title})", style="dim"))
    console.print(ranking)
    if ranking[0].index == check.right:
        console.print(Text(" ✓ the right document is first\n", style="green"))
    else:
        console.print(Text(" ✗ a wrong document is first\n", style="red"))


@loads_a_model(model="mini")
def demo(
    *,
    options: LoadOptions,
) -> None:
    """Show that the right answer beats a wrong one, and that a keyword trap is avoided, in Chinese and English."""
    reranker = options.load()
    console = Console(highlight=False)
    for check in CHECKS:
        show(reranker, check, console)
