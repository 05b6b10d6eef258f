"""What a request must be like before anything looks at it, and what every response says to the browser.

Against pages of other sites that are open in the same browser: the host must be ours (else DNS rebinding makes
another site's page of the same origin), requests must come from our own page, and what does anything needs the
token that only our page knows. Beyond loopback, everything needs a cookie that one gets by the address with the key.
"""

import ipaddress
import secrets
import socket
from collections.abc import Iterable
from dataclasses import dataclass, field
from hmac import compare_digest
from urllib.parse import parse_qs

from starlette.datastructures import Headers, MutableHeaders
from starlette.responses import PlainTextResponse, RedirectResponse, Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

TOKEN_HEADER = "x-kinevec-token"
READING = ("GET", "HEAD")
LOOPBACK = frozenset(["127.0.0.1", "::1", "localhost"])
POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; media-src 'self'; connect-src 'self'; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
HEADERS = {
    "Content-Security-Policy": POLICY,
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Permissions-Policy": "camera=(), microphone=(), geolocation=()",
}


@dataclass(frozen=True)
class Secrets:
    """What is drawn anew at every start.

    Attributes:
        token: that our page sends with each request that does something.
        key: that must be in the first address beyond loopback; None: on loopback no key is needed.
    """

    token: str = field(default_factory=lambda: secrets.token_urlsafe(24), repr=False)
    key: str | None = field(default=None, repr=False)


class Guard:
    """Refuses requests, or passes them on to the application.

    Args:
        app: the application.
        secret: of this start.
        hosts: names by which the server may be called; addresses in numbers may beyond loopback too, since no
            other site's page can be reached by one.
    """

    def __init__(self, app: ASGIApp, secret: Secrets, hosts: Iterable[str] = ()) -> None:
        self.app = app
        self.secret = secret
        self.hosts = LOOPBACK | {host.lower() for host in hosts}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            await self.app(scope, receive, send)
        elif scope["type"] == "http":
            response = self.refusal(scope) or self._admitted(scope)
            await (response or self.app)(scope, receive, _with_headers(send))
        else:  # a web socket, which nothing here uses
            await send({"type": "websocket.close", "code": 1008})

    def refusal(self, scope: Scope) -> Response | None:
        """Why a request is not answered; None: it may go on."""
        headers = Headers(scope=scope)
        hosts = headers.getlist("host")
        if len(hosts) != 1 or not self._ours(hosts[0]):
            return _refused("this host name is not the server's", 421)
        site = headers.get("sec-fetch-site", "none")
        entering = scope["method"] == "GET" and scope["path"] == "/"  # a link to the page may stand anywhere
        if site not in ("same-origin", "none") and not entering:
            return _refused("the request comes from another site")
        if scope["method"] in READING:
            return None
        origin = headers.get("origin")
        if origin is not None and origin not in (f"http://{hosts[0]}", f"https://{hosts[0]}"):
            return _refused("the request comes from another site")
        if site == "none" and "sec-fetch-site" in headers:
            return _refused("the request does not come from the page")
        if not _same(headers.get(TOKEN_HEADER, ""), self.secret.token):
            return _refused("the token is missing or of an earlier start; load the page again")
        return None

    def _ours(self, host: str) -> bool:
        name = _name(host)
        if name in self.hosts:
            return True
        try:
            ipaddress.ip_address(name)
        except ValueError:
            return False
        return self.secret.key is not None

    def _admitted(self, scope: Scope) -> Response | None:
        """Beyond loopback: takes the key from the address into a cookie, and lets none in without."""
        key = self.secret.key
        if key is None:
            return None
        server = scope.get("server") or ("", 0)
        cookie = f"kinevec-{server[1]}"  # cookies know no ports
        if _same(_cookie(Headers(scope=scope).get("cookie", ""), cookie), key):
            return None
        given = parse_qs(scope["query_string"].decode("latin-1")).get("key", [""])[0]
        if scope["path"] != "/" or not _same(given, key):
            return _refused("open the address with the key that `kinevec serve` has printed")
        response = RedirectResponse("/", 303)
        response.set_cookie(cookie, key, httponly=True, samesite="lax")
        return response


def local_names() -> set[str]:
    """Names by which this machine may be called in its network."""
    return {socket.gethostname().lower(), socket.getfqdn().lower()}


def _refused(reason: str, status: int = 403) -> Response:
    return PlainTextResponse(f"refused: {reason}\n", status)


def _name(host: str) -> str:
    """Of a Host header, without the port."""
    if host.startswith("["):
        return host[1:].partition("]")[0].lower()
    return host.partition(":")[0].lower()


def _same(given: str, secret: str) -> bool:
    return compare_digest(given.encode("latin-1", "replace"), secret.encode())


def _cookie(header: str, name: str) -> str:
    # Not by http.cookies, which drops all where any cookie of this host, of whatever program, is written oddly.
    pairs = (part.strip().partition("=") for part in header.split(";"))
    return next((value for key, _, value in pairs if key == name), "")


def _with_headers(send: Send) -> Send:
    async def add(message: Message) -> None:
        if message["type"] == "http.response.start":
            headers = MutableHeaders(scope=message)
            for name, value in HEADERS.items():
                headers[name] = value
            headers.setdefault("Cache-Control", "no-store")
        await send(message)

    return add
