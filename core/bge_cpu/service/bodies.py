"""What clients send: Cohere's and Jina's body, text-embeddings-inference's, and the fields that are our own."""

from collections.abc import Sequence
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Discriminator, Field, JsonValue, Tag
from pydantic_core import PydanticCustomError

from bge_cpu.service.refused import Refused, too_large
from bge_cpu.service.settings import Limits

_MODEL_NAME = r"^[A-Za-z0-9_][A-Za-z0-9_-]*([./:@ ][A-Za-z0-9_-]+)*$"
_EXAMPLE_QUERY = "如何治疗糖尿病足?"
_EXAMPLE_DOCUMENTS: list[JsonValue] = [
    "足疗店提供全身按摩服务,包括足部精油护理,缓解疲劳。",
    "糖尿病足患者应注意足部清洁,避免感染,定期检查皮肤破损。",
    "胰岛素注射是控制血糖的重要手段之一,需遵医嘱使用。",
]


def _encodable(text: str) -> str:
    """A text that UTF-8 can hold; pydantic lets lone surrogates through where a type is one of several."""
    try:
        text.encode()
    except UnicodeEncodeError:
        raise PydanticCustomError("string_unicode", "a lone surrogate") from None
    return text


PlainText = Annotated[str, AfterValidator(_encodable)]
Query = Annotated[PlainText, Field(pattern=r"\S", description="What is asked.")]


class TextDocument(BaseModel):
    """A document as an object; fields other than `text` are not read."""

    model_config = ConfigDict(strict=True)

    text: PlainText


class _Body(BaseModel):
    """What both shapes have, beside the texts."""

    model_config = ConfigDict(strict=True, extra="allow")  # a field we do not know becomes a warning, not an error

    query: Query
    timeout: float | None = Field(
        default=None,
        gt=0,
        allow_inf_nan=False,
        description="Seconds to wait for the answer; at most the server's own limit. Also as header X-Request-Timeout.",
    )
    fallback: bool = Field(
        default=False,
        description="When the time is up, answer 200 with the documents in the order they came in, their scores null "
        "and `fallback` true (header X-Rerank-Fallback), instead of 504.",
    )
    long_documents: Literal["truncate", "windows"] = Field(
        default="truncate",
        description="What becomes of a document beyond the model's max_length: cut, or read in overlapping windows.",
    )


class CohereBody(_Body):
    """Cohere's and Jina's body. `model` is whatever the client calls it; it never loads anything."""

    model_config = ConfigDict(
        strict=True,
        extra="allow",
        json_schema_extra={"examples": [{"query": _EXAMPLE_QUERY, "documents": _EXAMPLE_DOCUMENTS, "top_n": 2}]},
    )

    documents: list[PlainText | TextDocument] = Field(min_length=1, description="Texts, or objects with a `text`.")
    model: str | None = Field(default=None, max_length=200, pattern=_MODEL_NAME)
    top_n: int | None = Field(default=None, ge=1, description="How many results; all by default.")
    return_documents: bool | None = Field(default=None, description="Whether results carry their text.")
    max_tokens_per_doc: int | None = Field(
        default=None, ge=1, description="Has no effect: documents are cut to what max_length leaves; see the warnings."
    )
    normalize: Literal["sigmoid", "softmax", "none"] = Field(
        default="sigmoid",
        description='What scores mean: 0..1 each, shares of all documents, or with "none" raw logits.',
    )

    @property
    def texts(self) -> list[str]:
        """The documents' texts."""
        return [document if isinstance(document, str) else document.text for document in self.documents]


class TeiBody(_Body):
    """The body of text-embeddings-inference."""

    model_config = ConfigDict(
        strict=True,
        extra="allow",
        json_schema_extra={"examples": [{"query": _EXAMPLE_QUERY, "texts": _EXAMPLE_DOCUMENTS}]},
    )

    texts: list[PlainText] = Field(min_length=1)
    raw_scores: bool = Field(default=False, description="Raw logits instead of 0..1.")
    return_text: bool = Field(default=False, description="Whether results carry their text.")
    truncate: bool | None = Field(
        default=None, description="false refuses a request in which a pair is longer than max_length."
    )
    truncation_direction: Literal["Right", "right"] = Field(default="Right", description="Where a text is cut.")


def _shape(body: Any) -> str:
    given = body if isinstance(body, dict) else getattr(body, "__dict__", {})
    return "tei" if "texts" in given and "documents" not in given else "cohere"


EitherBody = Annotated[Annotated[CohereBody, Tag("cohere")] | Annotated[TeiBody, Tag("tei")], Discriminator(_shape)]
"""The two tell themselves apart by `documents` and `texts`."""


def check_limits(query: str, documents: Sequence[str], limits: Limits) -> None:
    """Refuse what is beyond the service's limits.

    Raises:
        Refused: Too many documents, or a text too long (413).
    """
    if len(documents) > limits.max_documents:
        raise too_large(f"{len(documents)} documents; a request holds at most {limits.max_documents}")
    for name, text in (("query", query), *((f"document {index}", text) for index, text in enumerate(documents))):
        if len(text) > limits.max_characters:
            raise too_large(f"{name} has {len(text)} characters; a text holds at most {limits.max_characters}")


def explain(errors: Sequence[Any], content_type: str) -> Refused:
    """What is wrong with a body, from pydantic's list of errors, without a word of what was sent."""
    first = errors[0]
    if first["type"] == "json_invalid":
        return Refused(400, f"the body is not JSON (at character {first['loc'][-1]})")
    where = [
        part
        for part in first["loc"]
        if part not in ("body", "cohere", "tei", "str", "TextDocument", "header")
        and not str(part).startswith("function-")
    ]
    if not where:
        if "json" not in content_type:
            return Refused(422, "the body is a JSON object, sent as Content-Type: application/json")
        return Refused(422, "the body is a JSON object with query and documents (or texts)")
    place = ".".join(str(part) for part in where)
    if first["type"] == "string_unicode":
        return Refused(422, f"{place} is no text: it holds a lone surrogate")
    if where[0] == "documents" and len(where) > 1:
        return Refused(422, f"{place} is neither a text nor an object with a text")
    return Refused(422, f"{place} {_plain(first)}")


def _plain(error: Any) -> str:
    if error["type"] == "missing":
        return "is missing"
    if error["type"] == "string_pattern_mismatch":
        return "is empty" if error["loc"][-1] == "query" else "is no plain name"
    return str(error["msg"]).replace("Input should", "should")
