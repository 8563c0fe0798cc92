"""How good a ranking is, query by query, as trec_eval and MS MARCO's script compute it; needs ir-measures."""

from collections.abc import Mapping

import ir_measures
import numpy as np
from ir_measures import RR, P, R, nDCG
from numpy.typing import NDArray

from bge_cpu.evaluation.files import Grades, Run


def measure(grades: Grades, run: Run, *, depth: int, min_grade: int = 1) -> Mapping[str, NDArray[np.float64]]:
    """Measure a run: nDCG@10, MRR@10, P@1 and Recall at `depth`.

    nDCG counts every grade above 0 as its gain; the others take a document as relevant from `min_grade` on. Only the
    order counts, not the scores: documents of the same score stand as they are in the run.

    Args:
        grades: Relevance of each query's documents.
        run: Rankings.
        depth: Up to which rank Recall looks.
        min_grade: The least grade of a relevant document.

    Returns:
        Measure -> a value 0..1 per query, (queries,), in the run's order.
    """
    measures = {
        "nDCG@10": nDCG @ 10,
        "MRR@10": RR(rel=min_grade) @ 10,
        "P@1": P(rel=min_grade) @ 1,
        f"Recall@{depth}": R(rel=min_grade) @ depth,
    }
    judged = {query: grades.get(query, {}) for query in run}
    falling = {query: {document: -float(rank) for rank, (document, _) in enumerate(run[query])} for query in run}
    found = {(str(value.measure), value.query_id): value.value for value in _values(measures, judged, falling)}
    return {
        name: np.array([found.get((str(kind), query), 0.0) for query in run], np.float64)
        for name, kind in measures.items()
    }


def _values(
    measures: Mapping[str, ir_measures.Measure], judged: Grades, falling: Mapping[str, Mapping[str, float]]
) -> list[ir_measures.Metric]:
    return list(ir_measures.evaluator(list(measures.values()), judged).iter_calc(falling))
