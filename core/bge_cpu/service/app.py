"""The endpoints, and what they answer when something is wrong."""

import math
from collections.abc import Mapping
from typing import Annotated, Any

from fastapi import Body, Depends, FastAPI, Header, Request
from fastapi.exceptions import RequestValidationError
from fastapi.security import HTTPBearer
from starlette.exceptions import HTTPException
from starlette.responses import JSONResponse, PlainTextResponse, Response

from bge_cpu.service import answers
from bge_cpu.service.bodies import CohereBody, EitherBody, TeiBody, check_limits, explain
from bge_cpu.service.guard import Record
from bge_cpu.service.metrics import Metrics
from bge_cpu.service.page import page
from bge_cpu.service.queue import Queue
from bge_cpu.service.refused import Refused
from bge_cpu.service.settings import Limits
from bge_cpu.service.work import Call, Gone, Result, Work

Seconds = Annotated[
    float | None,
    Header(alias="X-Request-Timeout", gt=0, allow_inf_nan=False, description="As the body's `timeout`."),
]

_PROBLEMS: dict[int | str, dict[str, Any]] = {
    status: {"model": answers.Problem, "description": description}
    for status, description in {
        400: "The body is not JSON.",
        401: "An API key is needed.",
        408: "The body came too slowly.",
        413: "More than a limit of the service allows.",
        422: "A field is missing or of the wrong type or value.",
        429: "The queue is full; see Retry-After.",
        500: "The model failed on this request.",
        504: "No answer within the time allowed.",
    }.items()
}
_TEI_PROBLEMS = _PROBLEMS | {424: {"model": answers.Problem, "description": "As 500, for the body with texts."}}
_KEY = Depends(HTTPBearer(auto_error=False, description="Where the service has API keys; the guard checks them."))


def create(
    work: Work, queue: Queue, metrics: Metrics, *, limits: Limits, info: Mapping[str, Any], log_texts: bool
) -> FastAPI:
    """The application.

    Args:
        work: What ranks.
        queue: What is asked whether there is room.
        metrics: What /metrics tells.
        limits: What requests may ask for.
        info: What /info tells; `model` names the model in answers.
        log_texts: Whether queries and documents are logged.
    """
    app = FastAPI(
        title="bge-cpu",
        version=str(info["versions"]["bge-cpu"]),
        description="Reranks documents on CPUs; speaks the dialects of Cohere, Jina and text-embeddings-inference.",
        docs_url=None,  # both pages load scripts from elsewhere
        redoc_url=None,
    )

    async def ranked(request: Request, body: CohereBody | TeiBody, call: Call, header: float | None) -> Result:
        record: Record = request.scope["record"]
        check_limits(call.query, call.documents, limits)
        record.fields["documents"] = len(call.documents)
        if log_texts:
            record.fields |= {"query": call.query, "texts": call.documents}
        seconds = min(limits.timeout, body.timeout or math.inf, header or math.inf)
        result = await work.run(call, request, seconds=seconds, fallback=body.fallback)
        record.fields |= {"tokens": result.tokens, "truncated": result.truncated}
        if result.ranking is None:
            record.fields["fallback"] = True
        return result

    async def for_cohere(request: Request, body: CohereBody, header: float | None, version: str) -> JSONResponse:
        call = Call(
            body.query,
            body.texts,
            top_n=body.top_n,
            normalize=None if body.normalize == "none" else body.normalize,
            long_documents=body.long_documents,
        )
        result = await ranked(request, body, call, header)
        request_id = request.scope["record"].id
        return answers.cohere(body, result, request_id=request_id, model=str(info["model"]), version=version)

    async def for_tei(request: Request, body: TeiBody, header: float | None) -> JSONResponse:
        call = Call(
            body.query,
            body.texts,
            normalize=None if body.raw_scores else "sigmoid",
            long_documents=body.long_documents,
            refuse_long=body.truncate is False and body.long_documents == "truncate",
        )
        try:
            return answers.tei(body, await ranked(request, body, call, header))
        except Refused as refused:
            if refused.status == 500:
                raise Refused(424, refused.message, kind="internal") from refused
            raise

    @app.post("/v1/rerank", response_model=answers.CohereAnswer, responses=_PROBLEMS, dependencies=[_KEY])
    async def rerank_v1(request: Request, body: CohereBody, seconds: Seconds = None) -> Response:
        """Rank documents: Cohere's version 1, and Jina."""
        return await for_cohere(request, body, seconds, "1")

    @app.post("/v2/rerank", response_model=answers.CohereAnswer, responses=_PROBLEMS, dependencies=[_KEY])
    async def rerank_v2(request: Request, body: CohereBody, seconds: Seconds = None) -> Response:
        """Rank documents: Cohere's version 2."""
        return await for_cohere(request, body, seconds, "2")

    @app.post(
        "/rerank",
        response_model=answers.CohereAnswer | list[answers.TeiResult],
        responses=_TEI_PROBLEMS,
        dependencies=[_KEY],
    )
    async def rerank(request: Request, body: Annotated[EitherBody, Body()], seconds: Seconds = None) -> Response:
        """Rank documents: a body with `documents` as at /v1/rerank, one with `texts` as text-embeddings-inference."""
        if isinstance(body, TeiBody):
            return await for_tei(request, body, seconds)
        return await for_cohere(request, body, seconds, "1")

    @app.get("/health")
    async def health() -> dict[str, str]:
        """The process lives."""
        return {"status": "ok"}

    @app.get("/ready", responses={503: {"description": "The queue is full."}})
    async def ready() -> JSONResponse:
        """The model is loaded, and the queue has room."""
        if queue.full:
            return JSONResponse({"ready": False, "reason": "the queue is full"}, 503)
        return JSONResponse({"ready": True})

    @app.get("/info", dependencies=[_KEY], responses={401: _PROBLEMS[401]})
    async def about() -> dict[str, Any]:
        """Model, mode, versions and limits."""
        return dict(info)

    @app.get("/metrics", dependencies=[_KEY], response_class=PlainTextResponse, responses={401: _PROBLEMS[401]})
    async def figures() -> Response:
        """Figures for Prometheus, of all processes."""
        return Response(metrics.text(), media_type="text/plain; version=0.0.4; charset=utf-8")

    page(app)
    _explain_errors(app)
    return app


def _explain_errors(app: FastAPI) -> None:
    """Answer errors in our own words; the frameworks' handlers repeat what was sent, and fail on lone surrogates."""

    def told(request: Request, refused: Refused) -> JSONResponse:
        record: Record = request.scope["record"]
        record.kind = refused.kind
        return refused.answer(record.endpoint)

    @app.exception_handler(Refused)
    async def refused(request: Request, error: Refused) -> JSONResponse:
        return told(request, error)

    @app.exception_handler(RequestValidationError)
    async def invalid(request: Request, error: RequestValidationError) -> JSONResponse:
        return told(request, explain(error.errors(), request.headers.get("content-type", "")))

    @app.exception_handler(Gone)
    async def gone(request: Request, error: Gone) -> Response:
        request.scope["record"].kind = "disconnected"
        return Response(status_code=499)  # for the log and the figures: nobody reads it

    @app.exception_handler(Exception)
    async def broken(request: Request, error: Exception) -> JSONResponse:  # which the guard sees, too, and logs
        return told(request, Refused(500, "internal error"))

    @app.exception_handler(HTTPException)
    async def failed(request: Request, error: HTTPException) -> JSONResponse:
        known = {400: "the body is not JSON in UTF-8", 404: "no such path", 405: "no such method here"}
        message = known.get(error.status_code, "refused")
        return told(request, Refused(error.status_code, message, headers=dict(error.headers or {})))
