"""Around every request: who may ask, what browsers are told, what is counted."""

from __future__ import annotations

import hmac
import logging
import time
from collections.abc import Mapping

from starlette.datastructures import Headers, MutableHeaders
from starlette.responses import JSONResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from morelli.web.metrics import Metrics
from morelli.web.refusals import Refusal
from morelli.web.settings import Settings

OPEN = ("/health", "/ready", "/", "/page/")  # without a token: they say nothing of anybody's samples
PAGE_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' blob:; connect-src 'self'; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
UNREAD = (400, 401, 403, 408, 413, 415, 421, 429, 500, 503)  # something of the body may be left, and is not read
HEADERS = {
    "Content-Security-Policy": PAGE_POLICY,
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Permissions-Policy": "camera=(), microphone=(), geolocation=()",
    "Cache-Control": "no-store",
}
log = logging.getLogger("morelli.web")


class Guard:
    """Middleware. Answers what may not be asked, before a byte of its body is read, and what nobody foresaw."""

    def __init__(self, app: ASGIApp, settings: Settings, metrics: Metrics) -> None:
        self._app, self._settings, self._metrics = app, settings, metrics

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        begun, status = time.monotonic(), 0

        async def with_headers(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                headers = MutableHeaders(scope=message)
                for name, value in HEADERS.items():
                    headers.setdefault(name, value)
            await send(message)

        try:
            check(scope, self._settings)
            await self._app(scope, receive, with_headers)
        except Refusal as refusal:
            self._metrics.refused.labels(refusal.error).inc()
            await answer(refusal)(scope, receive, with_headers)
        except Exception:
            if status:  # half an answer is on its way
                raise
            log.exception("a request failed")
            await answer(Refusal(500, "failed", "the request failed for a reason of ours."))(
                scope, receive, with_headers
            )
        finally:
            path = getattr(scope.get("route"), "path", "other")
            self._metrics.requests.labels(path, str(status or 500)).inc()
            self._metrics.seconds.labels(path).observe(time.monotonic() - begun)


def check(scope: Scope, settings: Settings) -> None:
    """Raises Refusal: a host name that is not ours, a request from another site's page, no token."""
    headers = Headers(scope=scope)
    if settings.hosts and _without_port(headers.get("host", "")) not in settings.hosts:
        raise Refusal(421, "other_host", "this server does not answer to that name; see `--host` and `--name`.")
    if scope["method"] not in ("GET", "HEAD", "OPTIONS") and headers.get("sec-fetch-site") in (
        "cross-site",
        "same-site",
    ):
        raise Refusal(403, "other_site", "requests from other sites' pages are not answered.")
    path = scope["path"]
    is_open = path in OPEN or path.startswith("/page/")
    if settings.token is not None and not is_open and not _is_token(headers, settings.token):
        raise Refusal(401, "no_token", "a token is needed: send `Authorization: Bearer …`.")


def _is_token(headers: Mapping[str, str], token: str) -> bool:
    kind, _, given = headers.get("authorization", "").partition(" ")
    sent = given.encode("latin-1").strip()  # headers are bytes, which were read as that
    return kind.lower() == "bearer" and hmac.compare_digest(sent, token.encode().strip())


def _without_port(host: str) -> str:
    """`name:8000` → `name`, `[::1]:8000` → `[::1]`."""
    name, _, port = host.rpartition(":")
    return (name if name and port.isdigit() else host).lower()


def answer(refusal: Refusal) -> JSONResponse:
    headers = {} if refusal.retry_after is None else {"Retry-After": str(refusal.retry_after)}
    if refusal.status in UNREAD:
        headers["Connection"] = "close"
    if refusal.status == 401:
        headers["WWW-Authenticate"] = "Bearer"
    return JSONResponse(refusal.to_dict(), refusal.status, headers)
