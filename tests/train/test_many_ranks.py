"""Two real processes train together: the same on both, and what one process with all the videos would do."""

import json
import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

import rank_jobs
from kinevec.config import Config, Terms, Train
from kinevec.data.synthetic import SynthConfig, write_synthetic_videos
from kinevec.encoders import load
from kinevec.errors import ConfigError
from kinevec.methods.method import Method as Learner
from kinevec.runtime import seeded
from kinevec.train import supply, trainer
from kinevec.train.checkpoint import CHECKPOINT
from kinevec.train.log import read_log
from kinevec.train.loop import pretrain
from rank_jobs import IN_PARTS, METHODS, SEPARABLE, STEPS, in_parts

State = dict[str, Tensor]
STATISTICS = ("running_mean", "running_var", "num_batches_tracked")


@pytest.fixture(scope="module")
def videos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("videos")
    made = SynthConfig(videos_per_class=2, test_share=0, frames=28, size=32)
    write_synthetic_videos(folder, made)
    (folder / "labels.csv").unlink()
    for path in sorted(folder.rglob("*.mp4"))[16:]:
        path.unlink()
    return folder


@pytest.fixture(scope="module")
def alone(videos: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Runs of one process."""
    folder, seen = tmp_path_factory.mktemp("alone"), rank_jobs.collection(videos)
    configs = SEPARABLE | {
        "fima in parts": in_parts(IN_PARTS["fima"], 2),
        "mscl in parts": in_parts(IN_PARTS["mscl"], 4),
    }
    with pytest.MonkeyPatch.context() as patch, rank_jobs.shifted():
        patch.setattr(supply, "cores", lambda: 1)
        return {name: pretrain(config, seen, folder / name) for name, config in configs.items()}


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("together")


@pytest.fixture(scope="module")
def found(place: Path, videos: Path, request: pytest.FixtureRequest) -> list[dict[str, Any]]:
    """What both ranks know of the runs in `place`; they run while this process makes its own."""
    processes = rank_jobs.job(2, "train", place, videos)
    request.getfixturevalue("alone")
    return rank_jobs.results(processes, place)


def state_of(run: Path) -> State:
    model: State = torch.load(run / CHECKPOINT, weights_only=True)["model"]
    return model


def learnt(state: State) -> State:
    return {name: value for name, value in state.items() if not name.endswith(STATISTICS)}


def logged(run: Path) -> list[dict[str, float]]:
    timing = ("clips_per_second", "waiting")
    return [{n: v for n, v in entry.items() if n not in timing} for entry in read_log(run)]


def losses(run: Path) -> list[float]:
    return [entry["loss"] for entry in read_log(run)]


def assert_same_figures(one: Path, other: Path) -> None:
    """Losses, and the norm of the gradient before it is clipped."""
    assert losses(one) == pytest.approx(losses(other), rel=1e-5)
    norms = [[entry["gradient"] for entry in read_log(run)] for run in (one, other)]
    assert norms[0] == pytest.approx(norms[1], rel=1e-3)


def assert_moved_alike(config: Config, one: Path, other: Path) -> None:
    """Weights went nearly the same way from their first values, and the queues hold nearly the same keys."""
    with seeded(config.train.seed), rank_jobs.shifted():
        first = trainer.Method(config).state_dict()
    states = [state_of(run) for run in (one, other)]
    weights = [name for name in learnt(first) if "queue" not in name]
    moved = [torch.cat([(s[name] - first[name]).flatten().double() for name in weights]) for s in states]
    assert moved[0].norm() > 0.002
    assert (moved[0] - moved[1]).norm() < 2e-3 * moved[0].norm()
    for name in (name for name in first if name.endswith("queue.keys")):
        keys = [state[name] for state in states]
        if config.method.symmetric:  # of both clips, rank by rank: in another order than in one process
            keys = [found[:, found[0].argsort()] for found in keys]
        torch.testing.assert_close(*keys, rtol=0, atol=1e-4)


def assert_close(one: State, other: State) -> None:
    for name, value in one.items():
        torch.testing.assert_close(
            value, other[name], rtol=1e-3, atol=1e-4, msg=lambda text, n=name: f"{n}: {text}"
        )


@pytest.mark.parametrize("name", METHODS)
def test_all_ranks_hold_the_same_after_training(name: str, found: list[dict[str, Any]], place: Path) -> None:
    """Weights, key sides, every queue and the statistics that the encoder is used with: bit for bit."""
    one, other = (rank[name]["model"] for rank in found)
    assert [rank[name]["step"] for rank in found] == [STEPS, STEPS]
    assert sum("queue.keys" in key for key in one) == {"moco": 1, "mscl": 2, "fima": 4}[name]
    for key, value in one.items():
        assert torch.equal(value, other[key]), key
    saved = state_of(place / name)
    assert all(torch.equal(value, saved[key]) for key, value in one.items())
    loaded = load(place / name)
    assert loaded.step == STEPS
    assert torch.equal(
        loaded.encoder.state_dict()["stem.1.running_mean"], one["rgb.encoder.stem.1.running_mean"]
    )


def test_the_first_rank_writes_and_speaks_and_decodes(found: list[dict[str, Any]], place: Path) -> None:
    names = ("decoded", "flowed", "statuses")
    assert [[rank["mscl"][name] for name in names] for rank in found] == [[16, 16, 2], [0, 0, 0]]
    facts = json.loads((place / "mscl" / "run.json").read_text())
    assert (facts["ranks"], facts["batch"], facts["steps"], facts["videos"]) == (2, 8, STEPS, 16)
    assert len(list((place / "mscl" / "tensorboard").iterdir())) == 1
    assert [entry["step"] for entry in read_log(place / "mscl")] == [2, 4]
    assert not list((place / "mscl").glob("*.raw"))


@pytest.mark.parametrize("name", SEPARABLE)
def test_two_ranks_learn_what_one_process_does_with_synchronised_norms(
    name: str, found: list[dict[str, Any]], place: Path, alone: dict[str, Path]
) -> None:
    """Every term but FIMA's pixel and frame, whose negatives are those of a rank's own batch."""
    together, whole = place / f"{name} synchronised", alone[name]
    assert_same_figures(together, whole)
    for one, other in zip(logged(together), logged(whole), strict=True):
        terms = [
            term for term in one if term in ("instance", "flow", "cross", "local", "vanilla", "flow_rotated")
        ]
        assert len(terms) == {"mscl": 5, "vanilla": 2}[name]
        assert [one[term] for term in terms] == pytest.approx([other[term] for term in terms], rel=1e-5)
    assert_moved_alike(SEPARABLE[name], together, whole)
    statistics = [
        {key: value for key, value in state_of(run).items() if key.endswith(STATISTICS)}
        for run in (together, whole)
    ]
    assert_close(*statistics)


@pytest.mark.parametrize("name", ["fima", "mscl"])
def test_parts_on_other_ranks_or_one_after_the_other_are_the_same_step(
    name: str, found: list[dict[str, Any]], place: Path, alone: dict[str, Path]
) -> None:
    """Also for dropout, angles, and negatives from the batch: only how many parts a step has counts."""
    together, whole = place / f"{name} in parts", alone[f"{name} in parts"]
    assert_same_figures(together, whole)
    assert_moved_alike(IN_PARTS[name], together, whole)


def test_a_rank_that_is_asked_to_stop_stops_all_and_they_go_on_as_if_they_had_not(
    found: list[dict[str, Any]], place: Path
) -> None:
    assert [rank["stopped"]["said"].partition(";")[0] for rank in found] == [
        "Interrupted: stopped at step 3 of 4"
    ] * 2
    assert [(rank["stopped"]["step"], rank["stopped"]["saves"]) for rank in found] == [(3, 2)] * 2
    for rank in found:
        assert not rank["resumed"]["said"]
        for key, value in rank["resumed"]["model"].items():
            assert torch.equal(value, rank["mscl"]["model"][key]), key
    assert logged(place / "resumed") == logged(place / "mscl")
    both = [torch.load(place / name / CHECKPOINT, weights_only=True) for name in ("resumed", "mscl")]
    for one, other in zip(*(state["optimizer"]["state"].values() for state in both), strict=True):
        assert all(torch.equal(torch.as_tensor(one[key]), torch.as_tensor(other[key])) for key in one)


def test_what_is_not_finite_on_one_rank_stops_all(found: list[dict[str, Any]], place: Path) -> None:
    said = [rank["nan"]["said"] for rank in found]
    assert said[0] == said[1]
    assert said[0].startswith("TrainingError: instance, loss not finite at step 3 of 4 (batch of ")
    assert "and 4 more, see not_finite.json); the last checkpoint is whole" in said[0]
    assert torch.load(place / "nan" / CHECKPOINT, weights_only=True)["step"] == 2
    assert len(json.loads((place / "nan" / "not_finite.json").read_text())["videos"]) == 8


def test_what_is_not_finite_on_one_rank_is_left_out_by_all(found: list[dict[str, Any]], place: Path) -> None:
    assert [rank["skip"]["said"] for rank in found] == ["", ""]
    assert [rank["skip"]["step"] for rank in found] == [STEPS, STEPS]
    for key, value in found[0]["skip"]["model"].items():
        assert torch.equal(value, found[1]["skip"]["model"][key]), key
    assert torch.load(place / "skip" / CHECKPOINT, weights_only=True)["skipped"] == [2]
    assert len(json.loads((place / "skip" / "not_finite.json").read_text())["videos"]) == 8


def test_a_queue_that_breaks_on_one_rank_stops_all_and_names_the_videos_of_all(
    found: list[dict[str, Any]], place: Path
) -> None:
    said = [rank["queue"]["said"] for rank in found]
    assert said[0] == said[1]
    assert "1 weights of the model (rgb.queue.keys, …) not finite at step 4 of 4 (batch of " in said[0]
    assert "and 4 more, see not_finite.json); the last checkpoint is whole" in said[0]
    assert torch.load(place / "queue" / CHECKPOINT, weights_only=True)["step"] == 2
    assert len(set(json.loads((place / "queue" / "not_finite.json").read_text())["videos"])) == 8


def test_ranks_stay_alike_in_bf16(found: list[dict[str, Any]], place: Path) -> None:
    assert [rank["bf16"]["said"] for rank in found] == ["", ""]
    assert json.loads((place / "bf16" / "run.json").read_text())["precision"] == "bf16"
    for key, value in found[0]["bf16"]["model"].items():
        assert torch.equal(value, found[1]["bf16"]["model"][key]), key
    assert all(abs(loss) < 100 for loss in losses(place / "bf16"))


def test_videos_that_fail_are_counted_over_all_ranks_also_after_a_resume(
    found: list[dict[str, Any]], place: Path, videos: Path, tmp_path: Path
) -> None:
    whole = pretrain(rank_jobs.BROKEN, rank_jobs.damaged(videos, tmp_path / "videos"), tmp_path / "run")
    counts = [
        torch.load(run / CHECKPOINT, weights_only=True)["failures"] for run in (place / "broken", whole)
    ]
    assert [rank["broken"]["said"] for rank in found] == ["", ""]
    assert counts[0] == counts[1]
    assert len(counts[0]) == 4
    said = [rank["too many"]["said"] for rank in found]
    assert said[0] == said[1]
    assert re.match(
        r"DataError: \d of 8 videos asked for could not be read \(\d files: .*failed_share = 0.01", said[0]
    )


def test_a_batch_that_does_not_divide_is_refused(found: list[dict[str, Any]], place: Path) -> None:
    words = (
        "ConfigError: train.batch is 9 videos per step; 2 ranks with train.accumulate = 1 need a multiple of 2, "
        "at least 4: set train.batch=8"
    )
    assert [rank["uneven"]["said"] for rank in found] == [words] * 2
    assert not (place / "uneven").exists()


def test_going_on_with_fewer_ranks_says_what_that_means(
    found: list[dict[str, Any]], place: Path, videos: Path, caplog: pytest.LogCaptureFixture
) -> None:
    pretrain(METHODS["moco"], rank_jobs.collection(videos), place / "moco", resume=True)
    assert (
        "the run was made with device cpu, ranks 2, precision fp32, batch 8, steps 4 and goes on with"
        in caplog.text
    )
    assert "its losses will not be those of a run never stopped" in caplog.text


def test_without_statistics_of_a_batch_parts_equal_the_whole(
    videos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Batch norms in eval mode: accumulating is then the same as a larger batch."""

    def settled(config: Config) -> Learner:
        with rank_jobs.shifted():
            return trainer.Method(config).eval()

    monkeypatch.setattr(supply, "cores", lambda: 1)
    monkeypatch.setattr(trainer, "Method", settled)
    config, seen = IN_PARTS["mscl"], rank_jobs.collection(videos)
    whole = pretrain(config, seen, tmp_path / "whole")
    parts = pretrain(in_parts(config, 4), seen, tmp_path / "parts")
    assert_same_figures(parts, whole)
    assert_moved_alike(config, parts, whole)


def test_each_part_drops_out_other_cells(
    videos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    masks: list[str] = []
    forward = torch.nn.Dropout.forward

    def note(self: torch.nn.Dropout, x: Tensor) -> Tensor:
        out = forward(self, x)
        masks.append(f"{x.shape} {(out == 0).nonzero().flatten()[:200].tolist()}")
        return out

    monkeypatch.setattr(torch.nn.Dropout, "forward", note)
    config = replace(IN_PARTS["fima"], terms=Terms(pixel=1))
    pretrain(in_parts(config, 2), rank_jobs.collection(videos), tmp_path / "run")
    assert len(set(masks)) == len(masks) >= 2 * STEPS


@pytest.mark.parametrize(
    ("batch", "accumulate", "words"),
    [
        (8, 0, "train.accumulate is 0; it must be at least 1"),
        (8, 3, "train.batch is 8; it must divide into train.accumulate = 3 parts of at least 2"),
        (8, 8, "train.batch is 8; it must divide into train.accumulate = 8 parts of at least 2"),
    ],
)
def test_parts_that_make_no_sense_are_refused(batch: int, accumulate: int, words: str) -> None:
    with pytest.raises(ConfigError, match=words):
        Train(batch=batch, accumulate=accumulate)
