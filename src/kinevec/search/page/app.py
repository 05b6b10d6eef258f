"""The application: addresses, what they take and give back.

Everything under /api is asked for by POST with JSON and the token (see `kinevec.search.page.guard`); GET gives out
the page, and films and pictures of clips, and changes nothing.
"""

import json
import logging
import threading
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from html import escape
from importlib import resources
from pathlib import Path
from string import Template
from typing import Any

from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import FileResponse, HTMLResponse, JSONResponse, Response
from starlette.routing import Route

from kinevec.errors import InputError, KinevecError, UsageError
from kinevec.search.page import asked
from kinevec.search.page.guard import Guard, Secrets
from kinevec.search.page.site import Site

log = logging.getLogger(__name__)

JSON_LIMIT = 2**20  # bytes of a request
TYPES = {".js": "text/javascript", ".css": "text/css", ".svg": "image/svg+xml"}
# Films may be kept, but are asked for each time: another index at this address has other clips of the same numbers.
KEEP = {"Cache-Control": "private, no-cache"}

Handler = Callable[[Request], Any]
Call = Callable[[Mapping[str, Any]], Any]


def make_app(site: Site, secret: Secrets, hosts: tuple[str, ...] = ()) -> Guard:
    """The application behind its guard; at its start it lets the encoder be loaded.

    Args:
        hosts: further names by which it may be called; see `Guard`.
    """

    @asynccontextmanager
    async def lifespan(app: Starlette) -> AsyncIterator[None]:
        threading.Thread(target=site.warm, daemon=True).start()
        yield

    routes = [
        Route("/", _page(secret)),
        Route("/static/{name}", _static()),
        Route("/api/upload", _upload(site), methods=["POST"]),
        Route("/api/map", _api(site.points), methods=["POST"]),
        *(Route(f"/api/{name}", _api(call), methods=["POST"]) for name, call in _calls(site).items()),
        Route("/media/clip/{clip:int}.{kind}", _media(lambda r: _beside(site, r))),
        Route(
            "/media/activation/{clip:int}.mp4", _media(lambda r: site.activation_film(r.path_params["clip"]))
        ),
        Route(
            "/media/video/{video:int}.mp4",
            _media(lambda r: site.video_preview(r.path_params["video"], _from(r))),
        ),
        Route("/media/upload/{id}.mp4", _media(lambda r: site.upload_preview(r.path_params["id"], _from(r)))),
    ]
    handlers: dict[Any, Any] = {KinevecError: _said, HTTPException: _said_http, Exception: _unforeseen}
    return Guard(Starlette(routes=routes, lifespan=lifespan, exception_handlers=handlers), secret, hosts)


def _calls(site: Site) -> dict[str, Call]:
    return {
        "about": lambda given: site.about(),
        "facets": lambda given: site.facets(),
        "clips": site.clips,
        "entries": site.entries,
        "search": site.search,
        "video": lambda given: site.video(asked.whole(given, "video")),
        "label": site.label,
        "save": lambda given: site.save(),
    }


def _page(secret: Secrets) -> Handler:
    page = Template(_text("index.html")).substitute(token=escape(secret.token))

    def show(request: Request) -> Response:
        return HTMLResponse(page)

    return show


def _static() -> Handler:
    folder = resources.files("kinevec.search.page") / "static"
    suffixes = {file.name: Path(file.name).suffix for file in folder.iterdir()}
    files = {
        name: (_text(name), TYPES[suffix], {"Cache-Control": "no-cache"})
        for name, suffix in suffixes.items()
        if suffix in TYPES
    }

    def give(request: Request) -> Response:
        if request.path_params["name"] not in files:
            raise HTTPException(404)
        content, kind, headers = files[request.path_params["name"]]
        return Response(content, media_type=kind, headers=headers)

    return give


def _api(call: Call) -> Handler:
    async def respond(request: Request) -> Response:
        given = await _json(request)
        found = await run_in_threadpool(call, given)
        if isinstance(found, bytes):
            return Response(found, media_type="application/octet-stream")
        return JSONResponse(found)

    return respond


def _upload(site: Site) -> Handler:
    async def respond(request: Request) -> Response:
        declared = request.headers.get("content-length", "")
        if declared.isdecimal() and int(declared) > site.uploads.limit:
            raise InputError(
                f"the file is larger than {site.uploads.limit // 2**20} MiB; cut out a part of it"
            )
        received = await site.uploads.receive(request.stream())
        upload = await run_in_threadpool(site.accept, received)
        return JSONResponse({"upload": upload.id, **upload.about})

    return respond


def _media(find: Callable[[Request], Path]) -> Handler:
    async def respond(request: Request) -> Response:
        path = await run_in_threadpool(find, request)
        response = FileResponse(
            path,
            headers=KEEP,
            media_type="image/jpeg" if path.suffix == ".jpg" else "video/mp4",
            stat_result=path.stat(),
        )
        known = [mark.strip() for mark in request.headers.get("if-none-match", "").split(",")]
        if response.headers["etag"] in known:
            return Response(status_code=304, headers={"etag": response.headers["etag"], **KEEP})
        return response

    return respond


def _beside(site: Site, request: Request) -> Path:
    kind = request.path_params["kind"]
    if kind not in ("mp4", "jpg"):
        raise HTTPException(404)
    return site.clip_film(request.path_params["clip"]).with_suffix(f".{kind}")


def _from(request: Request) -> float:
    """Whole seconds, so that there are not too many films of a video."""
    given = request.query_params.get("from", "0")
    if not given.isdecimal() or len(given) > 6:
        raise InputError("from is to be whole seconds")
    return float(given)


async def _json(request: Request) -> dict[str, Any]:
    """The object in a request's body."""
    if request.headers.get("content-type", "").partition(";")[0].strip().lower() != "application/json":
        raise HTTPException(415, "the request is to be application/json")
    body = b""
    async for chunk in request.stream():
        body += chunk
        if len(body) > JSON_LIMIT:
            raise HTTPException(413, f"the request has more than {JSON_LIMIT:,} bytes")
    try:
        found = json.loads(body)
    except (ValueError, RecursionError) as error:
        raise HTTPException(400, "the request is no JSON") from error
    if not isinstance(found, dict):
        raise HTTPException(400, "the request is to be a JSON object")
    return found


def _said(request: Request, error: Exception) -> Response:
    return JSONResponse({"error": str(error)}, 400 if isinstance(error, UsageError) else 422)


def _said_http(request: Request, error: Exception) -> Response:
    status = error.status_code if isinstance(error, HTTPException) else 500
    detail = error.detail if isinstance(error, HTTPException) else ""
    return JSONResponse({"error": detail or "there is nothing here"}, status)


def _unforeseen(request: Request, error: Exception) -> Response:
    log.warning("%s: %s (not foreseen)", request.url.path, error)
    return JSONResponse({"error": f"the server failed ({type(error).__name__})"}, 500)


def _text(name: str) -> str:
    return (resources.files("kinevec.search.page") / "static" / name).read_text("utf-8")
