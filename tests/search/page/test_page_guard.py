"""Who is let in: by host, site, origin and token; and the key beyond loopback."""

import pytest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route
from starlette.testclient import TestClient
from starlette.websockets import WebSocketDisconnect

from kinevec.search.page.guard import Guard, Secrets

OWN = {"host": "127.0.0.1:8765", "origin": "http://127.0.0.1:8765", "sec-fetch-site": "same-origin"}


def guarded(
    secret: Secrets, *hosts: str, base: str = "http://127.0.0.1:8765"
) -> tuple[TestClient, list[str]]:
    done: list[str] = []

    async def act(request: Request) -> Response:
        done.append(request.url.path)
        return PlainTextResponse("done")

    methods = ["GET", "POST", "PUT", "DELETE", "OPTIONS"]
    app = Starlette(routes=[Route(path, act, methods=methods) for path in ("/", "/do")])
    return TestClient(Guard(app, secret, hosts), base, follow_redirects=False), done


@pytest.mark.parametrize(
    ("host", "status"),
    [
        ("127.0.0.1:8765", 200),
        ("localhost:8765", 200),
        ("LOCALHOST", 200),
        ("[::1]:8765", 200),
        ("127.0.0.1:9000", 200),  # through a tunnel
        ("evil.example", 421),
        ("evil.example:8765", 421),
        ("127.0.0.1.evil.example:8765", 421),
        ("localhost.evil.example", 421),
        ("192.168.0.7:8765", 421),  # loopback is not reached by it
        ("", 421),
    ],
)
def test_only_our_names_are_answered_to(host: str, status: int) -> None:
    client, done = guarded(Secrets())
    assert client.get("/do", headers={"host": host}).status_code == status
    assert len(done) == (status == 200)


@pytest.mark.parametrize(
    ("changes", "status"),
    [
        ({}, 200),
        ({"x-kinevec-token": None}, 403),
        ({"x-kinevec-token": ""}, 403),
        ({"x-kinevec-token": "guessed"}, 403),
        ({"x-kinevec-token": "é"}, 403),
        ({"origin": "http://evil.example"}, 403),
        ({"origin": "null"}, 403),
        ({"origin": "http://127.0.0.1:9999"}, 403),  # another server of this machine
        ({"origin": "http://localhost:8765"}, 403),
        ({"sec-fetch-site": "cross-site"}, 403),
        ({"sec-fetch-site": "same-site"}, 403),  # likewise
        ({"sec-fetch-site": "none"}, 403),
        ({"sec-fetch-site": None}, 200),  # of an old browser, or a script that was given the token
        ({"origin": None, "sec-fetch-site": None}, 200),
        ({"origin": None, "sec-fetch-site": None, "x-kinevec-token": None}, 403),
    ],
)
def test_what_acts_needs_our_page_and_the_token(changes: dict[str, str | None], status: int) -> None:
    secret = Secrets()
    client, done = guarded(secret)
    headers = {**OWN, "x-kinevec-token": secret.token, **changes}
    sent = [(name, value.encode()) for name, value in headers.items() if value is not None]
    for method in ("POST", "PUT", "DELETE"):
        done.clear()
        assert client.request(method, "/do", headers=sent).status_code == status
        assert len(done) == (status == 200)


def test_a_form_of_another_site_cannot_act() -> None:
    client, done = guarded(Secrets())
    headers = {"content-type": "text/plain", "origin": "http://evil.example"}
    assert client.post("/do", content='{"a":"="}', headers=headers).status_code == 403
    assert client.options("/do", headers=headers).status_code == 403  # so no preflight is granted
    assert not done


def test_another_site_may_link_to_the_page_and_no_more() -> None:
    client, done = guarded(Secrets())
    from_outside = {"sec-fetch-site": "cross-site"}
    assert client.get("/", headers=from_outside).status_code == 200
    assert client.get("/do", headers=from_outside).status_code == 403
    assert client.post("/", headers=from_outside).status_code == 403
    assert done == ["/"]


def test_every_response_carries_the_policy() -> None:
    client, _ = guarded(Secrets())
    for answer in (client.get("/"), client.get("/none"), client.post("/do")):
        policy = answer.headers["content-security-policy"]
        assert "default-src 'none'" in policy
        assert "unsafe" not in policy
        assert "*" not in policy
        assert answer.headers["x-content-type-options"] == "nosniff"
        assert answer.headers["x-frame-options"] == "DENY"
        assert answer.headers["cache-control"] == "no-store"
        assert not [name for name in answer.headers if name.startswith("access-control")]


def test_web_sockets_are_refused() -> None:
    client, _ = guarded(Secrets())
    with pytest.raises(WebSocketDisconnect), client.websocket_connect("/do"):
        pass


def test_beyond_loopback_the_key_opens_the_page_and_only_it() -> None:
    secret = Secrets(key="open-sesame")
    client, done = guarded(secret, "box", base="http://192.168.0.7:8765")
    assert client.get("/").status_code == 403
    assert client.get("/?key=guess").status_code == 403
    assert client.get("/do?key=open-sesame").status_code == 403
    assert client.get("/", headers={"cookie": "kinevec-8765=guess"}).status_code == 403
    assert client.get("/", headers={"cookie": "kinevec-80=open-sesame; =;"}).status_code == 403
    assert not done
    answer = client.get("/?key=open-sesame")
    assert (answer.status_code, answer.headers["location"]) == (303, "/")
    assert "httponly" in answer.headers["set-cookie"].lower()
    assert client.get("/do").status_code == 200
    for other in (
        'grafana={"theme":"dark"}',
        "name=Anna Muster",
        "=;;x",
    ):  # of other programs on this machine
        cookies = {"cookie": f"{other}; kinevec-8765=open-sesame"}
        assert (
            guarded(secret, "box", base="http://192.168.0.7:8765")[0].get("/do", headers=cookies).status_code
            == 200
        )
    assert client.post("/do").status_code == 403  # the token is still needed
    assert client.get("/do", headers={"host": "evil.example"}).status_code == 421
    assert client.get("/do", headers={"host": "box:8765"}).status_code == 200


def test_secrets_are_new_at_every_start_and_not_shown() -> None:
    one, two = Secrets(), Secrets(key="k-e-y")
    assert one.token != two.token
    assert len(one.token) >= 32
    assert two.token not in repr(two)
    assert "k-e-y" not in repr(two)
