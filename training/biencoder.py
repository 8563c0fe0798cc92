"""The base model as a bi-encoder, and so the teacher: texts -> unit vectors, kept on disk as they are made."""

import hashlib
import json
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from rich.progress import track
from tokenizers import Tokenizer
from transformers import AutoModel

from training.workers import workers

Float16 = NDArray[np.float16]

LIMIT = 512  # tokens of a text, special ones included

_SHARD = 2_048  # texts between two writes to disk
_TOKENS = 2_048  # per batch, padding included


def embed(base: Path, texts: Sequence[str], cache: Path) -> Float16:
    """The embeddings of texts, float16, (texts, hidden), each of length 1: the mean of the last layer's tokens.

    E5 wants "query: " or "passage: " before each text; that is the caller's part (Wang et al. 2024, "Multilingual E5
    Text Embeddings"). The model runs under bfloat16 autocast. Every 2,048 texts are written to `cache` once done,
    under a name made of the texts and the checkpoint, so that a run that was stopped goes on where it was.

    Args:
        base: An encoder's checkpoint folder with tokenizer.json.
        texts: Texts of at most 512 tokens.
        cache: A folder; made if missing.

    Raises:
        ValueError: A text is longer than 512 tokens.
    """
    cache.mkdir(parents=True, exist_ok=True)
    stamp = [(file.name, file.stat().st_size, file.stat().st_mtime_ns) for file in sorted(base.iterdir())]
    shards = [texts[start : start + _SHARD] for start in range(0, len(texts), _SHARD)]
    names = [hashlib.sha256(json.dumps([stamp, list(shard)]).encode()).hexdigest()[:32] for shard in shards]
    missing = [index for index, name in enumerate(names) if not (cache / f"{name}.npy").is_file()]
    if missing:
        encode = _Encoder(base)
        for index in track(missing, description=f"embedding {len(missing)} of {len(shards)} shards"):
            partial = cache / f"{names[index]}.part.npy"
            np.save(partial, encode(shards[index]))
            partial.rename(cache / f"{names[index]}.npy")
    hidden = json.loads((base / "config.json").read_text())["hidden_size"]
    return np.concatenate([np.zeros((0, hidden), np.float16), *(np.load(cache / f"{name}.npy") for name in names)])


class _Encoder:
    def __init__(self, base: Path) -> None:
        self._tokenizer = Tokenizer.from_file(str(base / "tokenizer.json"))
        self._model = AutoModel.from_pretrained(base, dtype=torch.float32, add_pooling_layer=False).eval()

    def __call__(self, texts: Sequence[str]) -> Float16:
        ids = [encoding.ids for encoding in self._tokenizer.encode_batch(list(texts))]
        longest = max(range(len(ids)), key=lambda index: len(ids[index]))
        if len(ids[longest]) > LIMIT:
            raise ValueError(
                f"a text of {len(ids[longest])} tokens, at most {LIMIT} are read: {texts[longest][:60]!r}..."
            )
        batches = list(_batches([len(each) for each in ids]))
        made = np.empty((len(ids), self._model.config.hidden_size), np.float16)
        with workers() as pool:
            means = pool.map(lambda batch: self._means([ids[index] for index in batch]), batches)
            for batch, vectors in zip(batches, means, strict=True):
                made[batch] = vectors
        return made

    def _means(self, ids: list[list[int]]) -> Float16:
        tokens = torch.nn.utils.rnn.pad_sequence([torch.tensor(each) for each in ids], batch_first=True)
        mask = torch.arange(tokens.shape[1]) < torch.tensor([len(each) for each in ids])[:, None]
        with torch.inference_mode(), torch.autocast("cpu", torch.bfloat16):
            states = self._model(tokens, attention_mask=mask).last_hidden_state.float()
        means = (states * mask[..., None]).sum(1) / mask.sum(1, keepdim=True)
        made: Float16 = torch.nn.functional.normalize(means).half().numpy()
        return made


def _batches(lengths: Sequence[int]) -> Iterator[list[int]]:
    """Indices in order of length, as many to a batch as fit into it."""
    batch: list[int] = []
    for index in sorted(range(len(lengths)), key=lengths.__getitem__, reverse=True):
        if batch and (len(batch) + 1) * lengths[batch[0]] > _TOKENS:
            yield batch
            batch = []
        batch.append(index)
    if batch:
        yield batch
