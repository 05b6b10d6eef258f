"""`kinevec show`: what a video looks like to encoders whose eyes are known."""

import errno
import json
import shutil
from dataclasses import replace
from pathlib import Path

import av
import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from typer.testing import CliRunner

from kinevec import tasks
from kinevec.cli import app
from kinevec.config import Clip, Config, Train
from kinevec.data.decode import probe, read_clip
from kinevec.data.files import find_records
from kinevec.encoders import Loaded
from kinevec.errors import Interrupted, KinevecError, OutputError, UsageError, VideoError
from kinevec.models import build_encoder
from kinevec.show.figures import changed_over, flow_over
from kinevec.show.film import captions
from kinevec.show.look import MOST, SIDE, look
from kinevec.show.look_page import differing_clips, uneven_clips, write_look
from kinevec.tasks.showing import _names
from kinevec.train.checkpoint import save_encoder

SQUARE = 40  # pixels of the moving square


@pytest.fixture(scope="module")
def video(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A bright square that crosses a grey frame from left to right in 40 frames at 20 a second."""
    path = tmp_path_factory.mktemp("videos") / "läuft <b>.mp4"
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=20, options={"crf": "10"})
        stream.width = stream.height = 160
        stream.pix_fmt = "yuv420p"
        for f in range(40):
            frame = np.full((160, 160, 3), 90, np.uint8)
            frame[60 : 60 + SQUARE, 3 * f : 3 * f + SQUARE] = 230
            container.mux(stream.encode(av.VideoFrame.from_ndarray(frame, format="rgb24")))
        container.mux(stream.encode(None))
    return path


class Bright(nn.Module):
    """Activation is brightness itself, in 8 × 8 cells and at every second frame."""

    def forward(self, x: Tensor) -> Tensor:
        return torch.nn.functional.avg_pool3d(x, (2, 4, 4))


def loaded(encoder: nn.Module) -> Loaded:
    config = Config(clip=Clip(frames=4, stride=2, size=32), train=Train(precision="fp32"))
    return Loaded(encoder, config, "made", None)  # type: ignore[arg-type]


def test_activation_follows_what_the_encoder_sees(video: Path) -> None:
    found = look({"bright": loaded(Bright())}, video, device="cpu")
    assert found.frames.shape == (40, SIDE, SIDE, 3)
    warmth = found.seen["bright"].heat
    x = np.arange(SIDE)
    for f in (6, 20, 30):
        centre = (warmth[f].sum(0) * x).sum() / warmth[f].sum()
        assert centre == pytest.approx(3 * f + SQUARE / 2, abs=8)
        assert warmth[f, 80, int(centre)] > 0.8
        assert warmth[f, 10, 10] < 0.05


def test_pictures_show_what_moves(video: Path) -> None:
    found = look({"bright": loaded(Bright())}, video, device="cpu")
    assert found.difference[0].std() < 2
    assert found.difference[20, 80, 3 * 20 + SQUARE - 2].min() > 200  # the square enters here
    assert found.difference[20, 80, 3 * 20 - 2].max() < 60  # and left there
    assert found.flow[20, 5, 5].min() == 255  # nothing moves in the corner: white
    plain = np.ones((SIDE, SIDE), bool)
    plain[60 - 21 : 60 + SQUARE + 21] = False  # an eighth of the side, and where compression leaves its marks
    assert (found.flow[20][plain] == 255).all()
    assert found.seen["bright"].on_motion > 0.3


def test_flow_is_as_strong_as_motion_is_fast(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    block = rng.integers(0, 256, (10, 10, 3)).astype(np.uint8).repeat(6, 0).repeat(6, 1)
    left = np.cumsum([0] * 10 + [1] * 10 + [3] * 10) + 20  # still, slow, fast
    path = tmp_path / "speeds.mp4"
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=20, options={"crf": "10"})
        stream.width = stream.height = 160
        for x in left:
            frame = np.full((160, 160, 3), 90, np.uint8)
            frame[50:110, x : x + 60] = block
            container.mux(stream.encode(av.VideoFrame.from_ndarray(frame, format="rgb24")))
        container.mux(stream.encode(None))
    found = look({}, path)
    assert found.full == pytest.approx(3, abs=0.5)
    strength = [
        255 - float(found.flow[f, 60:100, left[f] + 10 : left[f] + 50].min(-1).mean()) for f in range(30)
    ]
    assert max(strength[:7]) < 3
    assert np.mean(strength[11:17]) == pytest.approx(255 / found.full, rel=0.15)
    assert np.mean(strength[21:28]) == pytest.approx(3 * np.mean(strength[11:17]), rel=0.15)
    assert strength[29] == pytest.approx(strength[27], rel=0.1)  # the last has no frame two later
    still = look({}, path, end=0.4)
    assert still.full == 0.5
    assert still.flow.min() > 240


def test_what_moves_is_laid_over_the_frames() -> None:
    frames = np.full((1, 1, 4, 3), 100, np.uint8)
    difference = np.array([127, 128, 50, 255], np.uint8)[None, None, :, None].repeat(3, -1)
    assert changed_over(frames, difference)[0, 0, :, 0].tolist() == [100, 100, 22, 228]
    assert changed_over(frames + 100, difference)[0, 0, :, 0].tolist() == [200, 200, 122, 255]
    flow = np.array([[[[255, 255, 255], [255, 0, 51], [0, 0, 0], [128, 255, 255]]]], np.uint8)
    assert flow_over(frames, flow)[0, 0].tolist() == [[100] * 3, [100, 0, 20], [0] * 3, [50, 100, 100]]


def test_a_part_of_the_video_is_shown_by_its_times(video: Path) -> None:
    found = look({}, video, start=0.5, end=1.0)
    assert found.numbers.tolist() == list(range(10, 21))
    expected = read_clip(video, [10]).frames[0]
    assert np.abs(found.frames[0].astype(int) - expected).mean() < 1


def test_of_a_long_video_the_first_frames_are_shown(video: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("kinevec.show.look.MOST", 12)
    assert MOST == 300
    assert look({}, video).numbers.tolist() == list(range(12))


def test_beside_a_run_an_untrained_encoder_sees_the_same_clips(video: Path, tmp_path: Path) -> None:
    config = Config(clip=Clip(frames=4, stride=2, size=32), train=Train(precision="fp32"))
    save_encoder(tmp_path, build_encoder("tiny"), config, 1)
    _, found = tasks.show([tmp_path, "untrained:tiny"], video, tmp_path / "look", end=0.5, device="cpu")
    assert found.seen["untrained:tiny"].clip == config.clip
    assert differing_clips(found) == ""


def test_a_time_without_frames_is_refused(video: Path) -> None:
    with pytest.raises(UsageError, match=r"fewer than 2 frames between 3 s and its end.*last until 1\.95 s"):
        look({}, video, start=3)
    with pytest.raises(VideoError, match="is not there"):
        look({}, video.with_name("other.mp4"))


def test_everything_is_written_and_can_be_read_back(video: Path, tmp_path: Path) -> None:
    found = look({"a": loaded(Bright()), "b <i>": loaded(Bright())}, video, device="cpu")
    page = write_look(found, tmp_path / "out")
    names = {path.name for path in page.parent.iterdir()}
    assert names == {
        "activation.png",
        "activation.mp4",
        "motion.png",
        "affinity.png",
        "look.json",
        "index.html",
    }
    text = page.read_text("utf-8")
    assert "läuft &lt;b&gt;.mp4" in text
    assert "b &lt;i&gt;" in text
    film = probe(page.parent / "activation.mp4")
    assert (film.width, film.height, film.frames) == (3 * SIDE, SIDE + 20, 40)
    np.testing.assert_allclose(film.times, found.times, atol=1e-3)
    written = json.loads((page.parent / "look.json").read_text("utf-8"))
    assert written["stretch"] == {"from": 0.0, "to": pytest.approx(1.95), "frames": 40}
    assert written["encoders"]["a"] == written["encoders"]["b <i>"]
    assert written["encoders"]["a"]["activation_follows_speed"] == pytest.approx(found.seen["a"].on_motion)


def test_clips_of_other_length_are_said_on_the_page(video: Path, tmp_path: Path) -> None:
    wide = loaded(Bright())
    wide = replace(wide, config=replace(wide.config, clip=Clip(frames=4, stride=5, size=32)))
    found = look({"a": loaded(Bright()), "b": wide}, video, end=1, device="cpu")
    assert "a 7, b 16" in differing_clips(found)
    text = write_look(found, tmp_path / "out").read_text("utf-8")
    assert differing_clips(found) in text
    assert "4 frames at stride 5 (of 16)" in text
    assert "a: every 2 steps; b: every 2 steps" in text
    assert differing_clips(replace(found, seen={"a": found.seen["a"]})) == ""


def test_clips_that_do_not_fit_in_evenly_are_said_on_the_page(video: Path, tmp_path: Path) -> None:
    """Of 40 frames, of clips that span 7 and lie 8 apart."""
    one = {"a": loaded(Bright())}
    assert uneven_clips(look(one, video, device="cpu")) == ""  # five clips
    assert uneven_clips(look(one, video, end=0.75, device="cpu")) == ""  # frames 0 to 15
    of = "Clips do not fit in evenly: "
    beyond = "they also see frames that are not shown"
    assert uneven_clips(look(one, video, end=0.8, device="cpu")) == f"{of}{beyond} (6 after)."
    assert uneven_clips(look(one, video, start=1.85, device="cpu")) == f"{of}{beyond} (4 before)."
    moved = look(one, video, start=0.5, device="cpu")
    assert moved.seen["a"].starts == (10, 18, 26, 33)  # in place of 34, which is no overlap
    assert uneven_clips(moved) == ""
    long = loaded(Bright())
    long = replace(long, config=replace(long.config, clip=Clip(frames=8, stride=6, size=32)))
    both = look(one | {"b": long}, video, start=0.6, end=1.92, device="cpu")
    assert both.seen["a"].starts == (12, 20, 28, 33)  # in place of 36
    assert uneven_clips(both) == (
        f"a: {of}the last of 4 overlaps the one before (2 frames), and {beyond} (1 after). "
        "b: The video has 40 frames and a clip spans 43: the clip starts again with the video's first frame where its last "
        "is through."
    )
    assert uneven_clips(both).replace("'", "&#x27;") in write_look(both, tmp_path / "out").read_text("utf-8")


def test_captions_are_words_over_their_own_pictures() -> None:
    def bar(*names: str) -> NDArray[np.uint8]:
        return captions(names, 160)

    assert bar("läuft", "b").shape == (20, 320, 3)
    assert (bar("läuft", "b")[:, :160] == bar("läuft", "c")[:, :160]).all()
    several = [bar(name) for name in ("läuft", "lauft", "l?uft", "$a$", "a")]
    assert all((a != b).any() for i, a in enumerate(several) for b in several[:i])
    above = bar("läuft").max(-1).max(1) > 100
    assert above.argmax() in range(2, 7)
    assert above[::-1].argmax() in range(4, 9)
    long = bar("a name that is much longer than its picture is wide", "")
    assert long[:, 120:155].max() > 200
    assert long[:, 156:].max() == 0
    bar("日本 \U0001f600")  # no font at hand has all of them


def test_names_are_no_formulas(video: Path, tmp_path: Path) -> None:
    name = "$\\frac 日本"
    page = write_look(look({name: loaded(Bright())}, video, end=0.5, device="cpu"), tmp_path / "out")
    assert name in page.read_text("utf-8")


def test_a_single_clip_has_no_same_time(video: Path, tmp_path: Path) -> None:
    found = look({"a": loaded(Bright())}, video, end=0.3, device="cpu")
    text = write_look(found, tmp_path / "out").read_text("utf-8")
    assert "<td>–</td></tr>" in text
    written = json.loads((tmp_path / "out" / "look.json").read_text("utf-8"))
    assert written["encoders"]["a"]["same_time"] is None
    assert written["encoders"]["a"]["same_place"] is not None


def test_command(video: Path, tmp_path: Path) -> None:
    ran = CliRunner().invoke(
        app,
        [
            "show",
            "untrained:tiny",
            str(video),
            "--beside",
            "untrained:tiny",
            "-o",
            str(tmp_path / "out"),
            "--to",
            "1",
        ],
    )
    assert ran.exit_code == 0, ran.output
    assert "untrained:tiny #2: activation follows speed" in ran.output
    assert (tmp_path / "out" / "index.html").is_file()
    tasks.show(["untrained:tiny"], video, tmp_path / "out", end=1)  # its own folder again


def test_a_folder_of_other_things_is_refused_and_ours_is_no_data(video: Path, tmp_path: Path) -> None:
    videos = tmp_path / "videos"
    videos.mkdir()
    (videos / "a.mp4").symlink_to(video)
    with pytest.raises(OutputError, match=r"videos: holds a\.mp4, and no earlier look; name a new folder"):
        tasks.show(["untrained:tiny"], videos / "a.mp4", videos)
    page, _ = tasks.show(["untrained:tiny"], videos / "a.mp4", videos / "look-a", end=1)
    assert (page.parent / "activation.mp4").is_file()
    assert [record.name for record in find_records(videos)] == ["a.mp4"]
    (videos / "look.json").write_text("{}")  # of a version that wrote among the videos
    assert [record.name for record in find_records(videos)] == ["a.mp4"]


def test_names_of_equal_ending_are_told_apart() -> None:
    assert _names(["runs/a", "other/a", "b", Path("a")]) == ["a", "a #2", "b", "a #3"]
    assert _names(["x/run #1", "y/run #1", "run", "z/run #1"]) == ["run #1", "run #1 #2", "run", "run #1 #3"]
    assert _names(["a", "x/a", "a #2"]) == ["a", "a #2", "a #2 #2"]


def test_what_cannot_be_shown_leaves_no_folder(video: Path, tmp_path: Path) -> None:
    for places, path in ((["untrained:tiny"], video.with_name("other.mp4")), (["no such run"], video)):
        with pytest.raises(KinevecError):
            tasks.show(places, path, tmp_path / "out")
        assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("at", ["showing.look", "showing.draw_look", "showing.place_look"])
def test_stopped_by_hand_it_says_that_nothing_was_written(
    video: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, at: str
) -> None:
    def stopped(*given: object, **more: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(f"kinevec.tasks.{at}", stopped)
    with pytest.raises(Interrupted, match=r"^interrupted: nothing was written$"):
        tasks.show(["untrained:tiny"], video, tmp_path / "out", end=0.5)
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("fault", "error"),
    [(KeyboardInterrupt, Interrupted), (OSError(errno.ENOSPC, "No space left on device"), OutputError)],
)
def test_a_look_is_placed_whole_or_not_at_all(
    video: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, fault: Exception, error: type[Exception]
) -> None:
    copy, out = shutil.copyfile, tmp_path / "deep" / "out"

    def stopping(source: Path, target: Path) -> None:
        if source.name == "motion.png":
            raise fault
        copy(source, target)

    def written() -> dict[str, bytes]:
        return {path.name: path.read_bytes() for path in out.iterdir()}

    with monkeypatch.context() as patch:
        patch.setattr("kinevec.data.whole.shutil.copyfile", stopping)
        with pytest.raises(error):
            tasks.show(["untrained:tiny"], video, out, end=0.5)
    assert not out.parent.exists()
    page, _ = tasks.show(["untrained:tiny"], video, out, end=0.5)
    before = written()
    assert page.name in before
    assert not any(name.startswith(".") for name in before)
    with monkeypatch.context() as patch:
        patch.setattr("kinevec.data.whole.shutil.copyfile", stopping)
        with pytest.raises(error):
            tasks.show(["untrained:tiny"], video, out, end=0.3)
    assert written() == before


def test_nothing_is_encoded_where_the_result_cannot_be_written(video: Path, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(Exception, match="cannot be written"):
        tasks.show(["untrained:tiny"], video, tmp_path / "file" / "out")
