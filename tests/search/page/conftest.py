"""A small index with videos, the application on it in this process, and the same as a server for browsers."""

import threading
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("starlette")

from page_served import Served
from starlette.testclient import TestClient

from kinevec import tasks
from kinevec.data import SynthConfig, write_synthetic_videos
from kinevec.encoders import Loaded
from kinevec.search.catalogue import place
from kinevec.search.index import Index
from kinevec.search.page.app import make_app
from kinevec.search.page.guard import Secrets
from kinevec.search.page.server import Server
from kinevec.search.page.site import Site
from kinevec.tasks.serving import _listening
from kinevec.train.checkpoint import save_encoder

BASE = "http://127.0.0.1:8765"


@pytest.fixture(scope="session")
def videos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Ten videos of two thirds of a second, with labels by their folders."""
    folder = tmp_path_factory.mktemp("page") / "videos"
    write_synthetic_videos(folder, SynthConfig(videos_per_class=1, test_share=0, frames=16, size=48))
    return folder


@pytest.fixture(scope="session")
def folder(videos: Path, loaded: Loaded) -> Path:
    """An index of them, with a map."""
    run = videos.parent / "run"
    run.mkdir()
    save_encoder(run, loaded.encoder, loaded.config, 7)
    tasks.embed(run, videos, videos.parent / "index", device="cpu")
    rng = np.random.default_rng(0)
    with Index.open(videos.parent / "index") as index:
        clips = index.state().clips
        plane = rng.uniform(-1, 1, (len(clips), 2)).astype(np.float32)
        place(index, clips, np.arange(len(clips)) % 3, plane)
    return videos.parent / "index"


@pytest.fixture(scope="session")
def served(folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    """The application in this process; its workers are real."""
    secret = Secrets()
    with Index.open(folder) as index:
        site = Site(
            index, tmp_path_factory.mktemp("site"), tmp_path_factory.mktemp("list") / "mine.csv", "cpu"
        )
        client = TestClient(make_app(site, secret), BASE, raise_server_exceptions=False)
        yield Served(folder, site, client, secret.token)
        client.close()
        site.close()


@pytest.fixture(scope="session")
def address(served: Served) -> Iterator[str]:
    """The same index behind a real server, for browsers."""
    listener = _listening("127.0.0.1", 0)
    app = make_app(served.site, Secrets())
    server = Server(app, served.site)
    thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]})
    thread.start()
    while not server.started:
        time.sleep(0.01)
    yield f"http://127.0.0.1:{listener.getsockname()[1]}"
    server.should_exit = True
    thread.join(10)
    listener.close()
