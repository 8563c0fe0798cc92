"""Part of step 3: config.json -> what the ONNX modes need to know of a model's architecture."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from bge_cpu.checkpoint import position_offset
from bge_cpu.errors import CheckpointError


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

    @classmethod
    def from_config(cls, config: Mapping[str, Any]) -> "Architecture":
        """Read a config.json.

        Raises:
            CheckpointError: The ONNX modes do not know this architecture or one of its settings.
        """
        found = (config.get("architectures") or ["none named"])[0]
        if found not in _FAMILIES:
            raise CheckpointError(
                f"architecture {found} is not one the ONNX modes run: {', '.join(_FAMILIES)}",
                hint='mode="fp32" takes any one-label sequence classifier that transformers itself ships',
            )
        for setting, supported in (("hidden_act", "gelu"), ("position_embedding_type", "absolute")):
            if config.get(setting, supported) != supported:
                raise CheckpointError(
                    f"{setting} is {config[setting]!r}; the ONNX modes run {supported!r}", hint='use mode="fp32"'
                )
        prefix, head = _FAMILIES[found]
        try:
            return cls(
                prefix=prefix,
                head=head,
                position_offset=position_offset(config),
                hidden=config["hidden_size"],
                layers=config["num_hidden_layers"],
                heads=config["num_attention_heads"],
                intermediate=config["intermediate_size"],
                vocabulary=config["vocab_size"],
                positions=config["max_position_embeddings"],
                token_types=config["type_vocab_size"],
                epsilon=config["layer_norm_eps"],
            )
        except KeyError as error:
            raise CheckpointError(f"config.json of the {found} checkpoint lacks {error}") from error


_FAMILIES = {
    "XLMRobertaForSequenceClassification": ("roberta", ("classifier.dense", "classifier.out_proj")),
    "RobertaForSequenceClassification": ("roberta", ("classifier.dense", "classifier.out_proj")),
    "BertForSequenceClassification": ("bert", ("bert.pooler.dense", "classifier")),
}
