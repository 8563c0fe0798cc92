"""How good a checkpoint and a mode are: rankings of judged sets against BM25's, and INT8's against float32's.

    read -> prepare -> evaluate: a folder, its queries with a first stage's candidates, the measures of each mode

BM25, the measures and the chart need the extra `evaluation`; each is imported when it is asked for.
"""

from bge_cpu.evaluation.agreement import Agreement, agreement
from bge_cpu.evaluation.bootstrap import Interval, interval
from bge_cpu.evaluation.collection import Collection, read
from bge_cpu.evaluation.first_stage import Task, prepare
from bge_cpu.evaluation.report import Report, System, evaluate
from bge_cpu.evaluation.reranking import Reranked, rerank, write_trec

__all__ = [
    "Agreement",
    "Collection",
    "Interval",
    "Report",
    "Reranked",
    "System",
    "Task",
    "agreement",
    "evaluate",
    "interval",
    "prepare",
    "read",
    "rerank",
    "write_trec",
]
