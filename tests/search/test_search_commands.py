"""The commands, as Python calls and as typed: videos in, rows out."""

import json
import sys
from pathlib import Path

import numpy as np
import pytest

from kinevec import tasks
from kinevec.cli import main
from kinevec.data import SynthConfig, find_records, write_synthetic_videos
from kinevec.data.prepare import PrepareConfig, prepare
from kinevec.encoders import Loaded
from kinevec.errors import DataError, InputError, OutputError
from kinevec.search.filters import Filter
from kinevec.search.index import Index
from kinevec.search.query import query_file
from kinevec.train.checkpoint import save_encoder


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory, loaded: Loaded) -> Path:
    """A folder with a run, videos, and an index of them."""
    folder = tmp_path_factory.mktemp("commands")
    (folder / "run").mkdir()
    save_encoder(folder / "run", loaded.encoder, loaded.config, 7)
    write_synthetic_videos(
        folder / "videos", SynthConfig(videos_per_class=1, test_share=0, frames=24, size=64)
    )
    tasks.embed(folder / "run", folder / "videos", folder / "index", device="cpu")
    return folder


def typed(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], *words: str | Path
) -> tuple[int, str, str]:
    monkeypatch.setattr(sys, "argv", ["kinevec", *map(str, words)])
    with pytest.raises(SystemExit) as stop:
        main()
    said = capsys.readouterr()
    return int(stop.value.code or 0), said.out, said.err


def test_a_video_finds_itself_where_it_is_not_known_to_be_itself(place: Path, tmp_path: Path) -> None:
    video = place / "videos" / "videos" / "orbit" / "orbit_00000.mp4"
    copy = tmp_path / "query.mp4"
    copy.write_bytes(video.read_bytes())
    found = tasks.search(place / "index", copy, start=0.0, stop=0.1, device="cpu").hits
    assert (found[0].name, found[0].start) == ("videos/orbit/orbit_00000.mp4", 0.0)
    assert found[0].score == pytest.approx(1, abs=1e-3)
    found = tasks.search(place / "index", copy, start=0.5, mode="appearance", device="cpu").hits
    assert found[0].name == "videos/orbit/orbit_00000.mp4"
    known = tasks.search(place / "index", video, limit=99, device="cpu").hits
    assert "orbit" not in {hit.label for hit in known}  # all of it is the query
    part = tasks.search(place / "index", video, start=0, stop=0.2, limit=99, group=False, device="cpu").hits
    assert {hit.start >= hit.stop - hit.start - 1e-9 for hit in part if hit.label == "orbit"} == {True}


def test_a_query_is_the_mean_of_its_clips(place: Path) -> None:
    video = place / "videos" / "videos" / "orbit" / "orbit_00000.mp4"
    with Index.open(place / "index") as index:
        asked = query_file(index, video, device="cpu")
        state = index.state()
        rows = state.rows[state.videos == asked.video]
        assert len(rows) == asked.clips == 5
        np.testing.assert_allclose(asked.raw["full"], state.full[rows].mean(0), rtol=1e-4, atol=1e-5)
        assert state.static is not None
        np.testing.assert_allclose(asked.raw["static"], state.static[rows].mean(0), rtol=1e-4, atol=1e-5)
        assert (asked.start, asked.stop) == (0, pytest.approx(1.0))


def test_a_part_that_is_not_there(place: Path) -> None:
    video = place / "videos" / "videos" / "orbit" / "orbit_00000.mp4"
    for start, stop, says in [(2.0, 1.0, "is empty"), (5.0, None, "has 1.00 s"), (-1.0, None, "is empty")]:
        with pytest.raises(InputError, match=says):
            tasks.search(place / "index", video, start=start, stop=stop, device="cpu")


def test_an_index_is_gone_on_with_as_it_is(place: Path, tmp_path: Path) -> None:
    first = place / "videos" / "videos" / "spin" / "spin_00000.mp4"
    out = tmp_path / "index"
    tasks.embed(place / "run", first, out, length=0.5, appearance=False, device="cpu")
    added = tasks.embed(place / "run", first.parent.parent / "shake", out, device="cpu")
    assert (added.embedded, added.clips) == (1, 3)
    with Index.open(out) as index:
        assert (index.settings.length, index.settings.appearance) == (0.5, False)
        assert index.model["step"] == 7
    for changes in ({"length": 0.6}, {"appearance": True}):
        with pytest.raises(OutputError, match="with other settings"):
            tasks.embed(place / "run", first, out, device="cpu", **changes)  # type: ignore[arg-type]
    with pytest.raises(OutputError, match=r"model\.identity"):
        tasks.embed("untrained:tiny", first, out, device="cpu")


def test_prepared_videos_bring_their_labels(place: Path, tmp_path: Path) -> None:
    folder = place / "videos"
    prepare(find_records(folder), tmp_path / "data", PrepareConfig(motion="none"), workers=0)
    added = tasks.embed(place / "run", tmp_path / "data", tmp_path / "index", device="cpu")
    assert added.embedded == 10
    rows = tasks.search(tmp_path / "index", clip=1, only=Filter(labels=("spin",)), limit=9).hits
    assert {hit.label for hit in rows} == {"spin"}


def test_typed_and_read_by_a_program(
    place: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    query = ["search", place / "index", "--video", "orbit_00000.mp4", "--at", "0.5", "--limit", "3"]
    code, out, _ = typed(monkeypatch, capsys, *query, "--mode", "motion", "--json")
    assert code == 0
    rows = json.loads(out)
    assert [set(row) for row in rows["hits"]] == [
        {"clip", "video", "name", "label", "start", "stop", "score", "folded"}
    ] * 3
    assert rows["more"] is True
    code, out, _ = typed(monkeypatch, capsys, *query[:-1], "9", "--label", "spin", "--label", "shake")
    assert (code, "spin" in out, "shake" in out, "bounce" in out) == (0, True, True, False)
    code, out, _ = typed(monkeypatch, capsys, *query, "--folder", "nowhere")
    assert (code, out.startswith("Nothing found. No clip of 50 has a video in the folder 'nowhere'")) == (
        0,
        True,
    )
    rows = json.loads(typed(monkeypatch, capsys, *query, "--folder", "nowhere", "--json")[1])
    assert (rows["hits"], rows["more"], rows["why"][:14]) == ([], False, "No clip of 50 ")
    code, _, err = typed(monkeypatch, capsys, *query, "--mode", "colour")
    assert (code, "mode is 'colour'; it must be one of" in err) == (2, True)
    code, _, err = typed(monkeypatch, capsys, "search", place / "index")
    assert (code, "give one thing to search for" in err) == (2, True)
    code, _, err = typed(monkeypatch, capsys, "search", place / "index", place / "no.mp4", "--at", "3")
    assert (code, "no such video" in err) == (2, True)
    code, _, err = typed(monkeypatch, capsys, "search", place / "index", "--at", "3")
    assert (code, "--at 3: it is a moment of --video" in err) == (2, True)
    code, out, _ = typed(monkeypatch, capsys, "search", place / "index", "--clip", "1", "--limit", "9")
    assert (code, "clip" in out.splitlines()[1]) == (0, True)  # rows of one video differ in it


def test_typed_embed_and_cluster(
    place: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    code, out, err = typed(
        monkeypatch, capsys, "embed", place / "run", place / "videos", "-o", place / "index"
    )
    assert code == 0
    assert "0 videos embedded (0 clips), 10 unchanged" in out
    assert "clips of 8 frames of each video every 4 frames, of which the encoder sees 4 frames" in err
    code, out, _ = typed(monkeypatch, capsys, "cluster", place / "index", "--groups", "3", "-o", tmp_path)
    assert (code, "50 clips in 3 groups by motion" in out) == (0, True)
    assert (tmp_path / "groups.html").stat().st_size > 10_000
    code, _, err = typed(monkeypatch, capsys, "cluster", place / "index", "--map", "tsne")
    assert (code, "it must be pca, umap or none" in err) == (2, True)
    code, _, err = typed(monkeypatch, capsys, "embed", place / "run", tmp_path, "-o", tmp_path / "i")
    assert (code, "no video files found" in err) == (2, True)
    assert not (tmp_path / "i").exists()


def test_an_index_of_nothing(place: Path, tmp_path: Path) -> None:
    (tmp_path / "a.mp4").write_text("x" * 100)
    with pytest.raises(DataError, match="not one of 1 videos can be used"):
        tasks.embed(place / "run", tmp_path, tmp_path / "index", device="cpu")
