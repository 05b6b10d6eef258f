"""Indices to test with: a small encoder, and vectors that need no video."""

from collections.abc import Callable, Sequence
from pathlib import Path

import pytest

from kinevec.config import Config, Model, Train
from kinevec.data.prepare.check import Stamp
from kinevec.data.records import Record
from kinevec.encoders import Loaded
from kinevec.models import build_encoder
from kinevec.runtime import seeded
from kinevec.search.index import Index
from kinevec.search.settings import Settings
from made_up import CLIP, made_up


@pytest.fixture(scope="session")
def loaded() -> Loaded:
    """An untrained tiny encoder in fp32; C = 128."""
    with seeded(0):
        encoder = build_encoder("tiny")
    return Loaded(
        encoder, Config(clip=CLIP, model=Model("tiny"), train=Train(precision="fp32")), "made up", 0
    )


Fill = Callable[..., Index]


@pytest.fixture
def fill(tmp_path: Path, loaded: Loaded) -> Fill:
    """Makes an index of made-up videos: their numbers of clips, and what is known of each by a record."""

    def make(counts: Sequence[int], records: Sequence[Record] = (), *, appearance: bool = True) -> Index:
        index = Index.create(tmp_path / "index", loaded, Settings(appearance=appearance))
        with index.writer() as writer:
            root = writer.root(str(tmp_path))
            for i, count in enumerate(counts):
                record = records[i] if records else Record(tmp_path / f"{i}.mp4", f"{i}.mp4")
                writer.put(record, root, Stamp(1, i), f"hash {i}", made_up(count, seed=i))
        return index

    return make
