"""Searches that find nothing say why."""

from collections.abc import Callable
from pathlib import Path

import pytest

from kinevec import tasks
from kinevec.data.records import Record
from kinevec.errors import InputError, OutputError
from kinevec.search.catalogue import place
from kinevec.search.clustering import cluster
from kinevec.search.filters import Filter
from kinevec.search.index import Index

Fill = Callable[..., Index]


@pytest.fixture
def index(fill: Fill, tmp_path: Path) -> Index:
    """Twelve labels a00 to a11 of one clip each, and b of six clips of 1 s every 0.5 s."""
    records = [
        Record(tmp_path / f"x/{i}.mp4", f"x/{i}.mp4", label=f"a{i:02}", split="train") for i in range(12)
    ]
    records.append(Record(tmp_path / "y/b.mp4", "y/b.mp4", label="b", split="test"))
    return fill([1] * 12 + [6], records)


@pytest.mark.parametrize(
    ("only", "words"),
    [
        (
            Filter(labels=("c", "d")),
            "No clip of 18 has the label 'c' or 'd'; there are the labels b (6), a00 (1), a01 (1)",
        ),
        (Filter(labels=("c",)), "a08 (1) and 3 more."),
        (Filter(splits=("val",)), "the split 'val'; there are the splits train (12), test (6)."),
        (Filter(folder="z"), "a video in the folder 'z'; there are the folders x (12), y (6)."),
        (Filter(text="Kuh"), "'Kuh' in the name of its video; names are like 'x/0.mp4'."),
        (Filter(after=99), "a start at 99 s or later; the first clip ends at "),
        (
            Filter(labels=("b",), splits=("train",)),
            "all filters together (the label 'b': 6, the split 'train': 12).",
        ),
        (Filter(labels=("c",), splits=("train",)), "No clip of 18 has the label 'c';"),
    ],
)
def test_the_filter_that_leaves_nothing_is_named_with_what_there_is(
    index: Index, only: Filter, words: str
) -> None:
    found = tasks.search(index.folder, clip=1, only=only)
    assert found.hits == ()
    assert words in found.why
    assert "train'" not in found.why or "split" in words  # only what is empty by itself


def test_groups_that_were_not_made_or_are_not_there(index: Index) -> None:
    with pytest.raises(
        InputError,
        match=r"not put into groups yet, so none is in group 1; run `kinevec cluster .*index` first",
    ):
        tasks.search(index.folder, clip=1, only=Filter(cluster=1))
    made = cluster(index, count=2, mode="both", plane="none")
    place(index, made.clips, made.groups, None)
    assert tasks.search(index.folder, clip=1, only=Filter(cluster=1)).why == ""
    found = tasks.search(index.folder, clip=1, only=Filter(cluster=7))
    assert "has the group 7; there are the groups 0 (" in found.why


def test_nothing_without_a_filter(index: Index, fill: Fill, tmp_path: Path) -> None:
    assert "make no more than 50 rows; lower the offset" in tasks.search(index.folder, clip=1, offset=50).why
    own = tasks.search(index.folder, clip=18, only=Filter(labels=("b",)), other_videos=True)
    assert own.why.startswith("All 6 clips to choose from show what the query shows")
    assert tasks.search(index.folder, clip=1).why == ""


def test_a_video_of_the_index_without_a_moment_is_searched_whole(
    index: Index, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO")
    found = tasks.search(index.folder, video="b.mp4", mode="both", limit=99, group=False)
    assert {hit.name for hit in found.hits} == {f"x/{i}.mp4" for i in range(12)}  # all of b is the query
    assert "searching by all of b.mp4, 6 clips to" in caplog.text
    single = tasks.search(index.folder, video="3.mp4", mode="both", limit=99).hits
    assert single == tasks.search(index.folder, clip=4, mode="both", limit=99).hits  # its only clip
    part = tasks.search(index.folder, video="b.mp4", at=0.0, mode="both", limit=99, group=False)
    assert "y/b.mp4" in {hit.name for hit in part.hits}


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({"at": 3.0}, "--at 3: it is a moment of --video NAME, which is not given"),
        ({"at": 3.0, "query": "q.mp4"}, "a part of a file is given by --from and --to"),
        ({"video": "b.mp4", "clip": 1}, "--video and --clip given; give one thing"),
        ({}, "nothing given; give one thing to search for"),
        ({"video": "b.mp4", "start": 1.0}, "--from and --to mark a part of a file"),
        ({"video": "c.mp4"}, "has no video 'c.mp4' among 13. Names are like 'x/0.mp4'."),
    ],
)
def test_queries_that_are_none_say_what_to_give(index: Index, given: dict[str, object], words: str) -> None:
    with pytest.raises(InputError) as error:
        tasks.search(index.folder, **given)  # type: ignore[arg-type]
    assert words in str(error.value)


def test_places_are_refused_before_the_work(
    index: Index, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("kinevec.tasks.searching.group", lambda *_, **__: pytest.fail("worked"))
    monkeypatch.setattr("kinevec.encoders.place.load", lambda *_: pytest.fail("worked"))
    (tmp_path / "file").write_text("mine")
    for out in (tmp_path / "file", tmp_path / "file" / "x"):
        with pytest.raises(OutputError, match="is a file, but a folder is wanted"):
            tasks.cluster(index.folder, out)
        with pytest.raises(OutputError, match="is a file, but a folder is wanted"):
            tasks.embed("run", tmp_path, out)
    with pytest.raises(OutputError, match="is a folder, but a file is wanted"):
        tasks.serve(index.folder, labels=tmp_path, on_ready=lambda _: pytest.fail("served"))
    with pytest.raises(InputError, match=r"mine: labels are saved to a list that ends in \.csv"):
        tasks.serve(index.folder, labels=tmp_path / "mine", on_ready=lambda _: pytest.fail("served"))
    with pytest.raises(InputError, match="file: is a file, but an index is a folder"):
        tasks.search(tmp_path / "file", clip=1)
