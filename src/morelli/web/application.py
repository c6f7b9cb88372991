"""The routes. A handler takes what was sent, asks the desk, and answers."""

from __future__ import annotations

import asyncio
import base64
import tempfile
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from importlib.resources import files
from pathlib import Path
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Depends, FastAPI, Query, Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse, PlainTextResponse
from fastapi.security import HTTPBearer
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect

from morelli._version import __version__
from morelli.web import models
from morelli.web.allowance import Allowance
from morelli.web.desk import Desk
from morelli.web.guard import Guard, answer
from morelli.web.metrics import Metrics
from morelli.web.refusals import STATUSES, Refusal
from morelli.web.settings import Settings
from morelli.web.uploads import FIELD, drain, receive
from morelli.web.worker import Worker

PAGE = {  # files of the page and their types
    "index.html": "text/html; charset=utf-8",
    "page.css": "text/css; charset=utf-8",
    "page.js": "text/javascript; charset=utf-8",
    "client.js": "text/javascript; charset=utf-8",
    "cards.js": "text/javascript; charset=utf-8",
    "plots.js": "text/javascript; charset=utf-8",
    "icon.svg": "image/svg+xml",
}
REPORT_POLICY = "default-src 'none'; style-src 'unsafe-inline'; img-src data:; sandbox"
WATCHED = 0.5  # seconds between looks whether a waiting client has left

AttributorName = Annotated[
    str | None, Query(alias="attributor", max_length=200, description="Its name; the first where none is given.")
]
Together = Annotated[bool, Query(description="All files are of one source: judge them at once as well.")]
Fdr = Annotated[
    float | None,
    Query(gt=0, lt=1, description="Name those not attributed at this false-discovery rate."),
]


class Service:
    """What the routes share: the desk, what is open, and the limits."""

    def __init__(self, settings: Settings, workers: list[Worker], about: dict[str, Any]) -> None:
        self.settings, self.about, self.metrics = settings, about, Metrics()
        limits = settings.limits
        self.desk = Desk(workers, limits.queue, limits.time_limit, self.metrics)
        self.allowance = Allowance(limits.rate_limit)
        self.workers = workers

    def attributor(self, name: str | None) -> str:
        names = [each["name"] for each in self.about["attributors"]]
        if name is None and names:
            return str(names[0])
        if name not in names:
            known = ", ".join(names) or "none at all"
            raise Refusal(404, "no_attributor", f"there is no attributor of that name here, but {known}.")
        return str(name)

    def too_many(self, wait: int) -> Refusal | None:
        limit = self.settings.limits.rate_limit
        said = f"more than {limit} files a minute. Wait {wait} s."
        return Refusal(429, "too_many", said, wait) if wait else None

    async def judged(self, request: Request, order: dict[str, Any]) -> dict[str, Any]:
        """Takes the files of a request, has them judged, and removes them. Raises Refusal."""
        client = request.client.host if request.client else ""
        if (refusal := self.desk.refusal() or self.too_many(self.allowance.wait(client))) is not None:
            await drain(request.stream(), self.settings.limits.max_bytes)
            raise refusal
        with self.desk.place(), tempfile.TemporaryDirectory(prefix="morelli.upload.") as folder:
            content_type = request.headers.get("content-type", "")
            limits, suffixes = self.settings.limits, self.about["suffixes"]
            uploads = await receive(request.stream(), content_type, Path(folder), limits, suffixes)
            if (refusal := self.too_many(self.allowance.take(client, len(uploads)))) is not None:
                raise refusal  # it has taken nothing: whoever waits as long as told has all of them judged
            named = [[None if each.path is None else str(each.path), each.name, each.refused] for each in uploads]
            found = await _unless_gone(request, self.desk.ask(order | {"files": named}))
        self.metrics.were_refused(found, sum(bool(each.refused) for each in uploads))
        return found


async def _unless_gone(request: Request, asked: Awaitable[dict[str, Any]]) -> dict[str, Any]:
    """The answer; given up where the client leaves, so that nobody waits for nobody."""
    waiting = asyncio.ensure_future(asked)
    try:
        while not (await asyncio.wait([waiting], timeout=WATCHED))[0]:
            if await request.is_disconnected():
                raise gone()
        return waiting.result()
    finally:
        waiting.cancel()


def gone() -> Refusal:
    return Refusal(400, "gone", "the client left.")


def _service(request: Request) -> Service:
    service: Service = request.app.state.service
    return service


Here = Annotated[Service, Depends(_service)]


def _parameters(request: Request) -> set[str]:
    """Those of the route that was asked for."""
    return {each.alias for each in request.scope["route"].dependant.query_params}


def _no_others(request: Request) -> None:
    """A parameter that is misspelt must not be passed over: another attributor would answer."""
    if others := set(request.query_params) - _parameters(request):
        raise Refusal(422, "invalid", f"unknown parameters: {', '.join(sorted(others))[:200]!a}.")


Said = dict[int | str, dict[str, Any]]


def _said(*statuses: int) -> Said:
    """Declarations of what else may be answered."""
    retry = {"Retry-After": {"description": "Seconds.", "schema": {"type": "integer"}}}
    return {
        status: {"model": models.Problem, "description": STATUSES[status]}
        | ({"headers": retry} if status in (429, 503) else {})
        for status in statuses
    }


USUAL = _said(401, 421, 422)
PAGE_SAID: Said = {
    200: {"content": {"text/html": {}, "application/pdf": {}}, "description": "One self-contained page."}
}
JUDGING = _said(400, 401, 403, 404, 408, 413, 415, 421, 422, 429, 500, 503, 504)
BODY = {
    "requestBody": {
        "required": True,
        "content": {
            "multipart/form-data": {
                "schema": {
                    "type": "object",
                    "required": [FIELD],
                    "properties": {
                        FIELD: {
                            "type": "array",
                            "minItems": 1,
                            "items": {"type": "string", "format": "binary"},
                            "description": "Samples: pictures, sound or tables, as the attributor reads them.",
                        }
                    },
                }
            }
        },
    }
}

v1 = APIRouter(prefix="/v1", tags=["judging"], dependencies=[Depends(_no_others)])


@v1.post("/attribute", response_model=models.Report, responses=JUDGING, openapi_extra=BODY)
async def attribute(
    here: Here, request: Request, attributor: AttributorName = None, together: Together = False, fdr: Fdr = None
) -> Response:
    """Did this model make these samples? What `morelli attribute --json` prints."""
    name = here.attributor(attributor)
    order = {"kind": "attribute", "attributor": name, "together": together, "fdr": fdr}
    found = await here.judged(request, order)
    here.metrics.judged(name, found["summary"])
    return JSONResponse(found)


@v1.post("/identify", response_model=models.Identification, responses=JUDGING, openapi_extra=BODY)
async def identify(here: Here, request: Request, together: Together = False) -> Response:
    """Which of the gallery's models made them, if any? What `morelli identify --json` prints."""
    if here.about["gallery"] is None:
        raise Refusal(404, "no_gallery", "this server has no gallery.")
    found = await here.judged(request, {"kind": "identify", "together": together})
    for each in found["samples"]:
        here.metrics.identified.labels("none" if each["identified"] is None else "one").inc()
    return JSONResponse(found)


@v1.post(
    "/report",
    response_class=Response,
    responses=PAGE_SAID | JUDGING,
    openapi_extra=BODY,
)
async def report(
    here: Here, request: Request, attributor: AttributorName = None, form: Literal["html", "pdf"] = "html"
) -> Response:
    """The report as a page to keep. The files are sent and judged again: the server has kept nothing of them."""
    name = here.attributor(attributor)
    found = await here.judged(request, {"kind": "page", "attributor": name, "form": form})
    here.metrics.judged(name, found["summary"])
    headers = {
        "Content-Disposition": f'attachment; filename="morelli-report.{form}"',
        "Content-Security-Policy": REPORT_POLICY,
    }
    kind = "application/pdf" if form == "pdf" else "text/html; charset=utf-8"
    return Response(base64.b64decode(found["page"]), media_type=kind, headers=headers)


@v1.get("/attributors", response_model=models.Attributors, responses=USUAL)
async def attributors(here: Here) -> Response:
    """What is served, with the distribution of held-out own scores."""
    return JSONResponse({"attributors": here.about["attributors"]})


@v1.get("/gallery", response_model=models.Gallery, responses=_said(401, 404, 421, 422))
async def gallery(here: Here) -> Response:
    """The models that are known."""
    if here.about["gallery"] is None:
        raise Refusal(404, "no_gallery", "this server has no gallery.")
    return JSONResponse(here.about["gallery"])


@v1.get("/server", response_model=models.Server, responses=USUAL)
async def server(here: Here) -> Response:
    """What there is to ask, and what one client may send."""
    names, known = [each["name"] for each in here.about["attributors"]], here.about["gallery"]
    allowed = {k: v for k, v in vars(here.settings.limits).items() if k in models.Allowed.model_fields}
    return JSONResponse(
        {"attributors": names, "gallery": known and known["name"], "pdf": here.about["pdf"], "limits": allowed}
    )


state = APIRouter(tags=["state"])


@state.get("/health", response_model=models.Health, responses=_said(421))
async def health(here: Here) -> Response:
    """The server answers."""
    return JSONResponse(_health(here, "ok"))


@state.get("/ready", response_model=models.Health, responses=_said(421, 503))
async def ready(here: Here) -> Response:
    """It takes samples, too; not while it is closing."""
    if not here.desk.ready:
        raise Refusal(503, "closing", "the server is starting or closing.", 5)
    return JSONResponse(_health(here, "ready"))


def _health(here: Service, status: str) -> dict[str, Any]:
    return {"status": status, "version": __version__, "token": here.settings.token is not None}


@state.get("/metrics", response_class=PlainTextResponse, responses=USUAL)
async def metrics(here: Here) -> Response:
    """For Prometheus."""
    here.metrics.starts.set(sum(worker.starts for worker in here.workers))
    return PlainTextResponse(here.metrics.text(), media_type="text/plain; version=0.0.4; charset=utf-8")


def _page_file(name: str) -> Callable[[], Awaitable[Response]]:
    text = files("morelli.web").joinpath("page", name).read_bytes()

    async def served() -> Response:
        return Response(text, media_type=PAGE[name], headers={"Cache-Control": "no-cache"})

    return served


def build(settings: Settings, workers: list[Worker], about: dict[str, Any]) -> FastAPI:
    """An application around workers that are running. `about`: what `Worker.start` returned."""
    service = Service(settings, workers, about)

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        service.desk.open()
        yield
        await service.desk.close()

    app = FastAPI(
        title="Morelli",
        summary="Which generative model made a sample, and how sure that is.",
        version=__version__,
        openapi_url="/v1/openapi.json",
        docs_url=None,  # they fetch scripts from elsewhere
        redoc_url=None,
        lifespan=lifespan,
        redirect_slashes=False,
    )
    app.state.service = service
    secured = [] if settings.token is None else [Depends(HTTPBearer(auto_error=False))]  # declared; `guard` checks it
    app.include_router(v1, dependencies=secured)
    app.include_router(state)
    for name in PAGE:
        path = "/" if name == "index.html" else f"/page/{name}"
        app.add_api_route(path, _page_file(name), methods=["GET"], include_in_schema=False)
    app.add_exception_handler(Refusal, _refused)
    app.add_exception_handler(RequestValidationError, _invalid)
    app.add_exception_handler(ClientDisconnect, _gone)
    app.add_exception_handler(HTTPException, _plain)
    app.add_middleware(Guard, settings=settings, metrics=service.metrics)
    return app


async def _refused(request: Request, error: Exception) -> Response:
    assert isinstance(error, Refusal)
    _service(request).metrics.refused.labels(error.error).inc()
    return answer(error)


async def _gone(request: Request, error: Exception) -> Response:
    return await _refused(request, gone())


async def _invalid(request: Request, error: Exception) -> Response:
    assert isinstance(error, RequestValidationError)
    where = "; ".join(f"{'.'.join(map(str, each['loc']))}: {each['msg']}" for each in error.errors())
    return await _refused(request, Refusal(422, "invalid", where[:500]))


async def _plain(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    kinds = {404: "not_found", 405: "wrong_method"}
    refusal = Refusal(error.status_code, kinds.get(error.status_code, "failed"), f"{error.detail}.")
    said = await _refused(request, refusal)
    for name, value in (error.headers or {}).items():
        said.headers[name] = value
    return said
