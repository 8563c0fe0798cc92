"""Part of loading: config.json -> what the ONNX and native modes need to know of a model's architecture."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bge_cpu.checkpoint.weights import Tensor, Weights, check_tensors
from bge_cpu.errors import CheckpointError

_Shaped = tuple[str, tuple[int, ...]]


@dataclass(frozen=True)
class Architecture:
    """A BERT-like encoder with a one-label head; the fields are those of its config.json.

    Attributes:
        prefix: What the encoder's tensor names begin with.
        head: The tensor names of the head's two linear layers.
        position_offset: The row of the position table that belongs to the first token.
    """

    prefix: str
    head: tuple[str, str]
    position_offset: int
    hidden: int
    layers: int
    heads: int
    intermediate: int
    vocabulary: int
    positions: int
    token_types: int
    epsilon: float

    @property
    def word_embeddings(self) -> str:
        """The name of the table that a pair reads a row per token of."""
        return f"{self.prefix}.embeddings.word_embeddings.weight"

    def check(self, weights: Weights, source: Path, *, int8: bool = False) -> None:
        """Check a checkpoint's tensors, or an INT8 artifact's, against the configuration, before anything is built.

        Raises:
            CheckpointError: A tensor is missing, of another shape or kind, or there are more layers.
        """
        check_tensors(weights, self.tensors(int8=int8), source)
        if any(name.startswith(f"{self.prefix}.encoder.layer.{self.layers}.") for name in weights):
            raise CheckpointError(f"{source} holds more layers than the {self.layers} its config says")

    def tensors(self, *, int8: bool = False) -> Iterator[Tensor]:
        """All that the model is made of, one by one: as a checkpoint has it, or with INT8 matrices (in, out).

        Of a matrix of codes, `NAME.scales` holds the scales: one for each of its outputs, or rows of the embeddings.
        """
        for name, shape in self._floats():
            table = name == self.word_embeddings
            if int8 and (table or (".encoder.layer." in name and len(shape) == 2)):
                yield name, shape if table else shape[::-1], True
                yield f"{name}.scales", shape[:1], False
            else:
                yield name, shape, False

    def _floats(self) -> Iterator[_Shaped]:
        """Names and shapes as a checkpoint has them, matrices (out, in)."""

        def linear(name: str, rows: int = self.hidden, columns: int = self.hidden) -> Iterator[_Shaped]:
            yield f"{name}.weight", (rows, columns)
            yield f"{name}.bias", (rows,)

        def norm(name: str) -> Iterator[_Shaped]:
            yield f"{name}.LayerNorm.weight", (self.hidden,)
            yield f"{name}.LayerNorm.bias", (self.hidden,)

        embeddings = f"{self.prefix}.embeddings"
        yield self.word_embeddings, (self.vocabulary, self.hidden)
        yield f"{embeddings}.token_type_embeddings.weight", (self.token_types, self.hidden)
        yield f"{embeddings}.position_embeddings.weight", (self.positions, self.hidden)
        yield from norm(embeddings)
        for number in range(self.layers):
            layer = f"{self.prefix}.encoder.layer.{number}"
            for part in ("query", "key", "value"):
                yield from linear(f"{layer}.attention.self.{part}")
            yield from linear(f"{layer}.attention.output.dense")
            yield from norm(f"{layer}.attention.output")
            yield from linear(f"{layer}.intermediate.dense", rows=self.intermediate)
            yield from linear(f"{layer}.output.dense", columns=self.intermediate)
            yield from norm(f"{layer}.output")
        yield from linear(self.head[0])
        yield from linear(self.head[1], rows=1)

    @classmethod
    def from_config(cls, config: Mapping[str, Any]) -> "Architecture":
        """Read a config.json.

        Raises:
            CheckpointError: The ONNX and native modes do not know this architecture or one of its settings.
        """
        found = (config.get("architectures") or ["none named"])[0]
        if found not in _FAMILIES:
            raise CheckpointError(
                f"architecture {found} is not one the ONNX modes run: {', '.join(_FAMILIES)}",
                hint='mode="fp32" takes any one-label sequence classifier that transformers itself ships',
            )
        model_type, prefix, head = _FAMILIES[found]
        if config.get("model_type") != model_type:
            raise CheckpointError(f"model_type is {config.get('model_type')!r}; that of {found} is {model_type!r}")
        for setting, supported in _SETTINGS.items():
            if config.get(setting, supported) != supported:
                raise CheckpointError(
                    f"{setting} is {config[setting]!r}; the ONNX modes run {supported!r}", hint='use mode="fp32"'
                )
        sizes = {name: _size(config, key) for name, key in _SIZES.items()}
        if sizes["hidden"] % sizes["heads"]:
            raise CheckpointError(f"hidden_size {sizes['hidden']} does not divide by {sizes['heads']} attention heads")
        epsilon = config.get("layer_norm_eps")
        if not isinstance(epsilon, float):
            raise CheckpointError(f"layer_norm_eps in config.json is a number, not {epsilon!r}")
        return cls(prefix=prefix, head=head, position_offset=position_offset(config), epsilon=epsilon, **sizes)


def _size(config: Mapping[str, Any], key: str) -> int:
    value = config.get(key)
    if not isinstance(value, int) or isinstance(value, bool) or value < 1:
        raise CheckpointError(f"{key} in config.json is a whole number of at least 1, not {value!r}")
    return value


def position_offset(config: Mapping[str, Any]) -> int:
    """The row of the position table that belongs to a pair's first token.

    RoBERTa and its kin leave the rows up to that of the padding token unused; BERT begins at row 0.
    """
    if any(kin in str(config.get("model_type")) for kin in _ROBERTA_KIN):
        pad = config.get("pad_token_id")
        return 2 if pad is None else int(pad) + 1
    return 0


_ROBERTA_KIN = ("roberta", "camembert", "longformer", "xmod", "data2vec-text")
_SIZES = {
    "hidden": "hidden_size",
    "layers": "num_hidden_layers",
    "heads": "num_attention_heads",
    "intermediate": "intermediate_size",
    "vocabulary": "vocab_size",
    "positions": "max_position_embeddings",
    "token_types": "type_vocab_size",
}
_SETTINGS = {"hidden_act": "gelu", "position_embedding_type": "absolute", "is_decoder": False, "use_task_id": False}
_ROBERTA = ("roberta", ("classifier.dense", "classifier.out_proj"))
# Families whose head is linear, tanh, linear, on the first token: graph and kernels know no other.
_FAMILIES = {
    "XLMRobertaForSequenceClassification": ("xlm-roberta", *_ROBERTA),
    "RobertaForSequenceClassification": ("roberta", *_ROBERTA),
    "CamembertForSequenceClassification": ("camembert", *_ROBERTA),
    "Data2VecTextForSequenceClassification": ("data2vec-text", "data2vec_text", _ROBERTA[1]),
    "BertForSequenceClassification": ("bert", "bert", ("bert.pooler.dense", "classifier")),
    "ErnieForSequenceClassification": ("ernie", "ernie", ("ernie.pooler.dense", "classifier")),
}
