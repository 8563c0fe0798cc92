"""What clients get: a ranking in Cohere's and Jina's shape, or in text-embeddings-inference's."""

from typing import Any, Literal

from pydantic import BaseModel, Field
from starlette.responses import JSONResponse

from bge_cpu.service.bodies import CohereBody, TeiBody
from bge_cpu.service.work import Result


class Text(BaseModel):
    """A document's text."""

    text: str


class CohereResult(BaseModel):
    """One document of the ranking."""

    index: int = Field(description="Its place in the request's documents, from 0.")
    relevance_score: float | None = Field(description="null in a fallback.")
    document: Text | None = None
    truncated_tokens: int | None = Field(default=None, description="Tokens that were cut off, where any were.")
    span: tuple[int, int] | None = Field(default=None, description="With windows: the characters that scored best.")


class CohereAnswer(BaseModel):
    """A ranking, best first."""

    id: str
    model: str
    results: list[CohereResult]
    meta: dict[str, Any]
    usage: dict[str, int]
    fallback: Literal[True] | None = None


class TeiResult(BaseModel):
    """One text of the ranking."""

    index: int
    score: float | None
    text: str | None = None


class Problem(BaseModel):
    """An error; /rerank adds the two fields that clients of text-embeddings-inference read."""

    message: str
    error: str | None = None
    error_type: str | None = None


def cohere(body: CohereBody, result: Result, *, request_id: str, model: str, version: str) -> JSONResponse:
    """The answer to a Cohere or Jina body."""
    content: dict[str, Any] = {
        "id": request_id,
        "model": model,
        "results": _cohere_results(body, result),
        "meta": {
            "api_version": {"version": version},
            "tokens": {"input_tokens": result.tokens},
            "warnings": _warnings(body, result),
        },
        "usage": {"total_tokens": result.tokens},
    }
    if not content["meta"]["warnings"]:
        del content["meta"]["warnings"]
    return _answer(content | ({"fallback": True} if result.ranking is None else {}), result)


def tei(body: TeiBody, result: Result) -> JSONResponse:
    """The answer to a text-embeddings-inference body."""
    scores = (
        [(index, None) for index in range(len(body.texts))]
        if result.ranking is None
        else [(item.index, item.score) for item in result.ranking]
    )
    content: list[dict[str, Any]] = [{"index": index, "score": score} for index, score in scores]
    if body.return_text:
        for item in content:
            item["text"] = body.texts[item["index"]]
    return _answer(content, result)


def _answer(content: Any, result: Result) -> JSONResponse:
    return JSONResponse(content, headers={"X-Rerank-Fallback": "true"} if result.ranking is None else None)


def _cohere_results(body: CohereBody, result: Result) -> list[dict[str, Any]]:
    found: list[dict[str, Any]]
    if result.ranking is None:
        found = [{"index": index, "relevance_score": None} for index in range(len(body.documents))[: body.top_n]]
    else:
        found = []
        for ranked in result.ranking:
            found.append({"index": ranked.index, "relevance_score": ranked.score})
            if ranked.truncated_tokens:
                found[-1]["truncated_tokens"] = ranked.truncated_tokens
            if ranked.span is not None:
                found[-1]["span"] = ranked.span
    if body.return_documents:
        texts = body.texts
        for item in found:
            item["document"] = {"text": texts[item["index"]]}
    return found


def _warnings(body: CohereBody, result: Result) -> list[str]:
    """What the client should know and would not notice."""
    said = []
    if result.truncated:
        said.append(f"cut to max_length={result.max_length} tokens: {result.truncated} of the pairs")
    if body.max_tokens_per_doc is not None and body.max_tokens_per_doc < result.max_length:
        said.append(f"max_tokens_per_doc has no effect: pairs are cut to max_length={result.max_length} tokens")
    if body.model_extra:
        said.append(f"fields that are not known here and had no effect: {len(body.model_extra)}")
    return said
