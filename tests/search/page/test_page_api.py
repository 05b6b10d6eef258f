"""What the page can ask for, and what it cannot: the application in this process, with real workers."""

import csv
import os
import shutil
import signal
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from page_served import Served
from starlette.testclient import TestClient

from kinevec.data import find_records
from kinevec.data.decode import probe
from kinevec.errors import DataError
from kinevec.search.index import Index
from kinevec.search.page import site as sites
from kinevec.search.page.app import JSON_LIMIT, make_app
from kinevec.search.page.guard import TOKEN_HEADER, Secrets
from kinevec.search.page.site import Site
from kinevec.search.query import query_clip, query_file
from kinevec.search.ranking import search


def refused(served: Served, name: str, given: object) -> tuple[int, str]:
    answer = served.client.post(f"/api/{name}", json=given, headers={TOKEN_HEADER: served.token})
    return answer.status_code, answer.json()["error"]


def test_pages_of_clips_and_what_they_can_be_filtered_by(served: Served) -> None:
    about = served.post("about")
    assert (about["videos"], about["clips"], about["mapped"]) == (10, 30, True)
    assert about["modes"] == ["motion", "appearance", "both"]
    first, second = (served.post("clips", offset=offset, limit=24) for offset in (0, 24))
    assert (len(first["clips"]), len(second["clips"]), first["total"]) == (24, 6, 30)
    names = [clip["name"] for clip in first["clips"] + second["clips"]]
    assert names == sorted(names)
    orbit = served.post("clips", only={"label": "orbit", "text": "ORBIT", "folder": "", "cluster": None})
    assert {clip["label"] for clip in orbit["clips"]} == {"orbit"}
    assert orbit["total"] == 3
    facets = served.post("facets")
    assert ["orbit", 3] in facets["label"]
    assert facets["cluster"] == [["0", 10], ["1", 10], ["2", 10]]
    ids = [clip["clip"] for clip in second["clips"]]
    assert served.post("entries", clips=[*ids, 99999])["clips"] == second["clips"]


def test_searches_are_those_of_the_library(served: Served) -> None:
    with Index.open(served.folder) as index:
        wanted = search(index, query_clip(index, 5), mode="motion", limit=7)
        found = served.post("search", query={"clip": 5}, mode="motion", limit=7)
        assert [clip["clip"] for clip in found["clips"]] == [hit.clip for hit in wanted.hits]
        path = index.locate(3)
        times = {"start": 0.1, "stop": 0.4}
        wanted = search(
            index, query_file(index, path, **times, device="cpu"), offset=2, limit=4, other_videos=True
        )
        found = served.post("search", query={"video": 3, **times}, offset=2, limit=4, other_videos=True)
        assert [clip["clip"] for clip in found["clips"]] == [hit.clip for hit in wanted.hits]
        scores = [clip["score"] for clip in found["clips"]]
        assert scores == pytest.approx([hit.score for hit in wanted.hits], abs=1e-6)
        assert found["more"] == wanted.more


def test_an_upload_is_searched_for_and_looked_at(served: Served, videos: Path) -> None:
    path = sorted(videos.rglob("*.mp4"))[4]
    headers = {TOKEN_HEADER: served.token}
    sent = served.client.post("/api/upload", content=path.read_bytes(), headers=headers).json()
    assert sent["frames"] == 16
    query = {"upload": sent["upload"], "start": 0.0, "stop": 0.34}
    best = served.post("search", query=query, limit=1)["clips"][0]
    assert (os.path.basename(best["name"]), best["start"]) == (path.name, 0.0)
    assert best["score"] == pytest.approx(1, abs=1e-3)
    film = served.client.get(f"/media/upload/{sent['upload']}.mp4?from=0")
    assert (film.status_code, film.headers["content-type"]) == (200, "video/mp4")
    kept = served.site.uploads.get(sent["upload"])
    assert kept.path.parent == served.site.uploads.folder
    assert path.stem not in kept.path.name


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (b"", "empty"),
        (b"#EXTM3U\n/etc/passwd", "no video"),
        (b"\0\0\0\x18ftypmp42" + bytes(4000), ""),
    ],
)
def test_a_bad_upload_is_said_and_leaves_nothing(served: Served, content: bytes, says: str) -> None:
    before = set(served.site.uploads.folder.iterdir())
    answer = served.client.post("/api/upload", content=content, headers={TOKEN_HEADER: served.token})
    assert answer.status_code in (400, 422)
    assert says in answer.json()["error"]
    assert "/" not in answer.json()["error"]  # no path of ours
    assert set(served.site.uploads.folder.iterdir()) == before
    assert served.post("about")["clips"] == 30


def test_an_upload_that_hangs_the_decoder_is_given_up(
    served: Served, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sites, "FILM_SECONDS", 0.3)
    for worker in served.site.media.workers:
        if worker._process:
            os.kill(worker._process.pid, signal.SIGSTOP)  # answers no more
    before = set(served.site.uploads.folder.iterdir())
    content = b"\0\0\0\x18ftypmp42" + bytes(100)
    answer = served.client.post("/api/upload", content=content, headers={TOKEN_HEADER: served.token})
    monkeypatch.undo()
    assert (answer.status_code, "was stopped" in answer.json()["error"]) == (422, True)
    assert set(served.site.uploads.folder.iterdir()) == before
    assert served.client.get("/media/clip/1.jpg").status_code == 200  # by another process


def test_films_of_clips(served: Served, tmp_path: Path) -> None:
    clip = served.post("clips", limit=1)["clips"][0]
    for kind in ("clip", "activation"):
        film = served.client.get(f"/media/{kind}/{clip['clip']}.mp4")
        assert (film.status_code, film.headers["content-type"]) == (200, "video/mp4")
        (tmp_path / f"{kind}.mp4").write_bytes(film.content)
    one, other = probe(tmp_path / "clip.mp4"), probe(tmp_path / "activation.mp4")
    assert (one.frames, one.width, one.height) == (other.frames, other.width, other.height)
    np.testing.assert_allclose(one.times, other.times)
    picture = served.client.get(f"/media/clip/{clip['clip']}.jpg")
    assert (picture.headers["content-type"], picture.content[:3]) == ("image/jpeg", b"\xff\xd8\xff")
    part = served.client.get(f"/media/clip/{clip['clip']}.mp4", headers={"range": "bytes=0-99"})
    assert (part.status_code, len(part.content)) == (206, 100)
    preview = served.client.get(f"/media/video/{clip['video']}.mp4?from=0")
    assert preview.status_code == 200
    # Another index at this address has other films of the same numbers: each is asked for again.
    assert picture.headers["cache-control"] == "private, no-cache"
    address = f"/media/clip/{clip['clip']}.jpg"
    for known, status in (
        (picture.headers["etag"], 304),
        (f'"x", {picture.headers["etag"]}', 304),
        ('"x"', 200),
    ):
        answer = served.client.get(address, headers={"if-none-match": known})
        assert (answer.status_code, bool(answer.content)) == (status, status == 200)


def test_the_map_as_columns(served: Served) -> None:
    def points(**only: object) -> dict[str, list[float]]:
        answer = served.client.post("/api/map", json={"only": only}, headers={TOKEN_HEADER: served.token})
        count = int(np.frombuffer(answer.content[:4], "<u4")[0])
        columns = [
            np.frombuffer(answer.content, kind, count, 4 + 4 * count * i)
            for i, kind in enumerate(("<i4", "<f4", "<f4", "<i4"))
        ]
        assert len(answer.content) == 4 + 16 * count
        return {name: column.tolist() for name, column in zip("cxyg", columns, strict=True)}

    everything, group = points(), points(cluster=1)
    with Index.open(served.folder) as index:
        rows = index.store.query("SELECT id, x, y, cluster FROM clips ORDER BY id")
    assert list(zip(*everything.values(), strict=True)) == rows
    assert list(zip(*group.values(), strict=True)) == [row for row in rows if row[3] == 1]


def test_labels_are_given_and_become_a_list_that_is_read(served: Served) -> None:
    status, said = refused(served, "save", {})
    assert (status, said) == (400, "no clip has been given a label yet")
    clips = [clip["clip"] for clip in served.post("clips", only={"label": "orbit"})["clips"]]
    name = "<img src=x onerror=alert(1)> ünïcode"
    assert served.post("label", clips=clips[:2], label=name) == {"clips": 2, "given": 2}
    assert served.post("entries", clips=clips[:1])["clips"][0]["label"] == name
    assert [name, 2] in served.post("facets")["label"]
    assert served.post("label", clips=clips[1:2], label=None)["given"] == 1
    made = served.post("save")
    assert (made["path"], made["parts"], made["failed"]) == (str(served.site.labels), 1, {})
    with served.site.labels.open(newline="") as file:
        assert [row["label"] for row in csv.DictReader(file)] == [name]
    assert [record.label for record in find_records(served.site.labels)] == [name]
    served.post("label", clips=clips[:1], label=None)


@pytest.mark.parametrize(
    ("name", "given", "says"),
    [
        ("clips", {"offset": -1}, "offset"),
        ("clips", {"limit": 101}, "limit"),
        ("clips", {"limit": True}, "limit"),
        ("clips", {"offset": "1; DROP TABLE clips"}, "offset"),
        ("clips", {"only": []}, ""),
        ("clips", {"only": {"text": 5}}, "text"),
        ("clips", {"only": {"text": "x" * 501}}, "text"),
        ("clips", {"only": {"cluster": 1.5}}, "cluster"),
        ("entries", {"clips": [1, True]}, "clips"),
        ("entries", {"clips": list(range(101))}, "too many"),
        ("entries", {"clips": [2**70]}, "clips"),
        ("search", {}, "query"),
        ("search", {"query": {"clip": 99999}}, "no clip"),
        ("search", {"query": {"clip": 1}, "mode": "x"}, "mode"),
        ("search", {"query": {"video": 1, "start": 2, "stop": 1}}, "empty"),
        ("search", {"query": {"video": 1, "start": "0", "stop": 1}}, "start"),
        ("search", {"query": {"video": 99, "start": 0, "stop": 1}}, "no video"),
        ("search", {"query": {"upload": "../index", "start": 0, "stop": 1}}, "not kept"),
        ("label", {"clips": [1], "label": " "}, "label"),
        ("label", {"clips": [1], "label": "x" * 201}, "label"),
        ("label", {"clips": "1", "label": "x"}, "clips"),
        ("video", {"video": None}, "video"),
    ],
)
def test_nonsense_is_refused_in_one_line(served: Served, name: str, given: object, says: str) -> None:
    if given == {"only": []}:
        assert served.post(name, only=[])["total"] == 30
        return
    status, said = refused(served, name, given)
    assert status in (400, 422)
    assert says in said
    assert "\n" not in said


def test_only_small_json_objects_are_read(served: Served) -> None:
    def sent(content: bytes, kind: str = "application/json") -> int:
        headers = {TOKEN_HEADER: served.token, "content-type": kind}
        return int(served.client.post("/api/clips", content=content, headers=headers).status_code)

    assert sent(b"{}") == 200
    assert sent(b"{}", "application/json; charset=utf-8") == 200
    assert sent(b"{}", "text/plain") == 415
    assert sent(b"{}", "application/x-www-form-urlencoded") == 415
    assert sent(b"{") == 400
    assert sent(b"[]") == 400
    assert sent(b"[" * 200_000) == 400
    assert sent(b'{"a": "' + b"x" * JSON_LIMIT + b'"}') == 413


def test_reading_changes_nothing(served: Served) -> None:
    for name in ("about", "clips", "facets", "label", "map", "save", "search", "upload", "video"):
        assert served.client.get(f"/api/{name}").status_code == 405
        assert served.client.post(f"/api/{name}", json={}).status_code == 403  # without the token


@pytest.mark.parametrize(
    "path",
    [
        "/static/",
        "/static/../app.py",
        "/static/%2e%2e%2fapp.py",
        "/static/..%2f..%2f..%2f..%2fetc%2fpasswd",
        "/static//etc/passwd",
        "/media/clip/../../index.sqlite",
        "/media/clip/1.sqlite",
        "/media/clip/-1.mp4",
        "/media/clip/99999.mp4",
        "/media/clip/..%2f1.mp4",
        "/media/video/99999.mp4",
        "/media/video/1.mp4?from=-1",
        "/media/video/1.mp4?from=/etc/passwd",
        "/media/upload/..%2f..%2fetc%2fpasswd.mp4",
        "/media/upload/%2fetc%2fpasswd.mp4",
        "/media/",
        "/index.sqlite",
        "/.git/config",
    ],
)
def test_no_path_leads_out(served: Served, path: str) -> None:
    answer = served.client.get(path)
    assert answer.status_code in (400, 404, 422)
    assert b"root:" not in answer.content
    assert b"SQLite" not in answer.content


def test_the_page_asks_nothing_of_others_and_holds_the_token(served: Served) -> None:
    page = served.client.get("/")
    assert served.token in page.text
    assert "style=" not in page.text
    assert "onclick" not in page.text
    static = Path(sites.__file__).parent / "static"
    for path in static.iterdir():
        answer = served.client.get(f"/static/{path.name}")
        assert answer.status_code == (404 if path.suffix == ".html" else 200)
        assert "http" not in path.read_text().replace("http://www.w3.org/2000/svg", "")
        assert "innerHTML" not in path.read_text()


@pytest.fixture
def apart(folder: Path, videos: Path, tmp_path: Path) -> Iterator[tuple[Site, TestClient, Path]]:
    """The same index as a copy whose videos can be changed."""
    shutil.copytree(folder, tmp_path / "index")
    shutil.copytree(videos, tmp_path / "videos")
    with Index.open(tmp_path / "index") as index:
        with index.store.transaction() as database:
            database.execute("UPDATE roots SET path = ?", (str(tmp_path / "videos"),))
            change = "UPDATE videos SET path = replace(path, ?, ?)"
            database.execute(change, (str(videos), str(tmp_path / "videos")))
        (tmp_path / "site").mkdir()
        site = Site(index, tmp_path / "site", tmp_path / "mine.csv", "cpu")
        yield site, TestClient(make_app(site, Secrets()), "http://127.0.0.1"), tmp_path
        site.close()


def test_files_outside_the_folders_are_never_given_out(
    apart: tuple[Site, TestClient, Path], videos: Path
) -> None:
    site, client, folder = apart
    outside = folder / "outside.mp4"
    shutil.copy(next(videos.rglob("*.mp4")), outside)
    clip, video = site.index.store.query("SELECT id, video FROM clips LIMIT 1")[0]
    inside = site.index.locate(video)
    assert client.get(f"/media/clip/{clip}.jpg").status_code == 200

    def reason() -> str:
        answers = [client.get(f"/media/{kind}/{clip}.mp4") for kind in ("clip", "activation")]
        answers.append(client.get(f"/media/video/{video}.mp4"))
        assert {answer.status_code for answer in answers} == {400}
        assert len({answer.json()["error"] for answer in answers}) == 1
        return str(answers[0].json()["error"])

    inside.unlink()
    assert "is not there any more" in reason()
    inside.symlink_to(outside)  # a link out of the folder
    assert "outside" in reason()
    inside.unlink()
    inside.mkdir()
    assert "is not there any more" in reason()
    inside.rmdir()
    for path in (str(outside), "/etc/passwd", str(folder / "videos" / ".." / "outside.mp4")):
        with site.index.store.transaction() as database:
            database.execute("UPDATE videos SET path = ? WHERE id = ?", (path, video))
        assert "outside" in reason()


def test_a_clip_that_cannot_be_shown_says_why(apart: tuple[Site, TestClient, Path]) -> None:
    site, client, _ = apart
    clip, video = site.index.store.query("SELECT id, video FROM clips LIMIT 1")[0]
    path = site.index.locate(video)
    path.write_bytes(path.read_bytes()[:400])
    answer = client.get(f"/media/clip/{clip}.jpg")
    assert answer.status_code == 422
    assert answer.json()["error"]
    assert client.get("/").status_code == 200
    with pytest.raises(DataError):
        site.clip_film(clip)
