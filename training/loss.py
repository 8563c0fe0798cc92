"""Logits of lists -> the loss. Pure functions over tensors."""

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn import functional


def distillation(logits: Tensor, scores: Tensor, temperature: float) -> Tensor:
    """How far the student's shares of a list are from the teacher's: KL divergence in nats, 0-dimensional.

    Args:
        logits: The student's, (candidates,).
        scores: The teacher's, (candidates,).
        temperature: What the teacher's scores are divided by before the softmax; E5 was trained at 0.01.
    """
    wanted = (scores / temperature).log_softmax(0)
    return functional.kl_div(logits.log_softmax(0), wanted, reduction="sum", log_target=True)


def label(logits: Tensor) -> Tensor:
    """What a list costs whose first candidate is right and all others wrong, in nats, 0-dimensional.

    Listwise cross-entropy, which orders the list, plus the mean of the candidates' own cross-entropies, which pulls
    right ones above 0 and wrong ones below, so that a logit's sigmoid means something by itself.
    """
    signs = torch.ones_like(logits)
    signs[1:] = -1
    return -logits.log_softmax(0)[0] - functional.logsigmoid(signs * logits).mean()


def total(
    logits: Tensor,
    scores: Sequence[Sequence[float]],
    positive: Sequence[bool],
    *,
    temperature: float,
    label_weight: float,
) -> Tensor:
    """The mean over lists of distillation, plus `label_weight` times the label's loss where the positive is known.

    Args:
        logits: The student's, list after list, (pairs,).
        scores: The teacher's, list by list.
        positive: Whether each list's first candidate is the right one.
        temperature: As in `distillation`.
        label_weight: 0 trains on the teacher alone.
    """
    losses = []
    for mine, wanted, known in zip(logits.split([len(each) for each in scores]), scores, positive, strict=True):
        losses.append(distillation(mine, mine.new_tensor(wanted), temperature))
        if known and label_weight:
            losses[-1] = losses[-1] + label_weight * label(mine)
    return torch.stack(losses).mean()
