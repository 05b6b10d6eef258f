"""Whole runs of MSCL, FIMA and their union: they learn, and a stopped one goes on as if nothing had been."""

import multiprocessing
import os
import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch import Tensor

from kinevec.config import Clip, Config, Data, Fima, Flow, Method, Model, Mscl, Sampling, Terms, Train, Views
from kinevec.data import Collection, find_records, open_videos
from kinevec.data.batch import collate
from kinevec.data.loader import Samples
from kinevec.data.source import FileSource
from kinevec.data.synthetic import SynthConfig, write_synthetic_videos
from kinevec.errors import CheckpointError, ConfigError, Interrupted, TrainingError
from kinevec.methods.method import Losses
from kinevec.methods.method import Method as Learner
from kinevec.motion.frames import ComputedFlow
from kinevec.motion.store import FlowStore
from kinevec.runtime import seeded
from kinevec.train import supply
from kinevec.train.checkpoint import CHECKPOINT
from kinevec.train.clips import to_clips
from kinevec.train.loop import pretrain
from kinevec.views.pipeline import Clips

PLAIN = Config(
    clip=Clip(frames=8, stride=2, size=32),
    sampling=Sampling(near=True, moving=True),
    flow=Flow(method="dis-ultrafast", gap=1, short_side=32),
    data=Data(workers=0),
    views=Views(area=(0.5, 1.0), flip=0),
    model=Model("tiny"),
    method=Method(dim=16, hidden=32, centred=True, queue=12, damping=0.98, temperature=0.2, momentum=0.9),
    mscl=Mscl(width=4, blocks=1, neck="linear"),
    fima=Fima(
        vanilla_queue=12, dense_queue=20, local_queue=24, width=16, heads=2, feedforward=16, dropout=0.2
    ),
    train=Train(epochs=2, batch=3, lr=1e-3, optimizer="adamw", warmup_epochs=1, precision="fp32"),
)
SYMMETRIC = replace(PLAIN, method=replace(PLAIN.method, symmetric=True))
MSCL = replace(PLAIN, terms=Terms(flow=1, cross=1, rotated=1, local=1))
FIMA = replace(SYMMETRIC, terms=Terms(vanilla=1, pixel=1, frame=1))
UNION = replace(SYMMETRIC, terms=Terms(local=1, pixel=1, frame=1))
METHODS = {"mscl": MSCL, "fima": FIMA, "union": UNION}
STEPS = 4  # two an epoch

Step = tuple[dict[str, float], list[Tensor]]


@pytest.fixture(autouse=True)
def one_core(monkeypatch: pytest.MonkeyPatch) -> None:
    """Flow is computed in this process: others take seconds to start."""
    monkeypatch.setattr(supply, "cores", lambda: 1)


@pytest.fixture(scope="module")
def videos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("videos")
    write_synthetic_videos(folder, SynthConfig(videos_per_class=1, test_share=0, frames=28, size=48))
    return folder


@pytest.fixture
def collection(videos: Path) -> Collection:
    found = open_videos(find_records(videos))
    kept = {record.name for record in found.records[:6]}
    return found.only(lambda record: record.name in kept)


@contextmanager
def watched(after: Callable[[Learner, int], None] = lambda model, step: None) -> Iterator[dict[int, Step]]:
    """The terms and angles of every step, by its number; `after` is called when a step is over."""
    steps: dict[int, Step] = {}
    angles: list[list[Tensor]] = []
    forward, advance = Learner.forward, Learner.advance

    def looking(self: Learner, clips: Clips) -> Losses:
        angles.append([angle.clone() for angle in clips.angles])
        return forward(self, clips)

    def noting(self: Learner, losses: Losses, step: int, total: int) -> None:
        advance(self, losses, step, total)
        steps[step] = ({name: float(term.detach()) for name, term in losses.terms.items()}, angles[-1])
        after(self, step)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Learner, "forward", looking)
        patch.setattr(Learner, "advance", noting)
        yield steps


def stopping(at: int) -> Callable[[Learner, int], None]:
    def after(model: Learner, step: int) -> None:
        if step == at:
            os.kill(os.getpid(), signal.SIGINT)

    return after


def assert_same_state(one: Path, other: Path) -> None:
    states = [torch.load(run / CHECKPOINT, weights_only=True) for run in (one, other)]
    assert states[0]["model"].keys() == states[1]["model"].keys()
    for name, value in states[0]["model"].items():
        assert torch.equal(value, states[1]["model"][name]), name
    for a, b in zip(*(state["optimizer"]["state"].values() for state in states), strict=True):
        assert all(torch.equal(torch.as_tensor(a[key]), torch.as_tensor(b[key])) for key in a)
    assert states[0]["supply"] == states[1]["supply"]


@pytest.mark.parametrize("config", METHODS.values(), ids=METHODS)
def test_a_run_stopped_within_an_epoch_goes_on_as_if_it_had_not_been(
    config: Config, collection: Collection, tmp_path: Path
) -> None:
    config = replace(config, data=Data(workers=1))
    with watched() as whole:
        pretrain(config, collection, tmp_path / "whole")
    with watched(stopping(2)) as first, pytest.raises(Interrupted, match="stopped at step 3 of 4"):
        pretrain(config, collection, tmp_path / "run")
    with watched() as rest:
        pretrain(config, collection, tmp_path / "run", resume=True)
    assert (sorted(first), sorted(rest), sorted(whole)) == ([0, 1, 2], [3], [*range(STEPS)])
    for step, (terms, angles) in (first | rest).items():
        assert terms == whole[step][0]
        assert all(torch.equal(a, b) for a, b in zip(angles, whole[step][1], strict=True))
    assert_same_state(tmp_path / "whole", tmp_path / "run")
    drawn = {tuple(angle.tolist()) for _, angles in whole.values() for angle in angles}
    assert len(drawn) == 2 * STEPS  # other angles in each step, and for each of its clips


def test_dropout_differs_from_step_to_step_and_leaves_the_global_generator_alone(
    collection: Collection, tmp_path: Path
) -> None:
    masks: list[Tensor] = []

    def note(module: torch.nn.Module, inputs: tuple[Tensor], output: Tensor) -> None:
        masks.append((output == 0).clone())

    def after(model: Learner, step: int) -> None:
        if step == 0:
            dropouts = [module for module in model.modules() if isinstance(module, torch.nn.Dropout)]
            dropouts[-1].register_forward_hook(note)

    before = torch.get_rng_state()
    with watched(after):
        pretrain(replace(SYMMETRIC, terms=Terms(pixel=1)), collection, tmp_path / "run")
    assert torch.equal(torch.get_rng_state(), before)
    assert len(masks) == 2 * (STEPS - 1)  # both directions
    assert len({str(mask.nonzero().tolist()) for mask in masks}) == len(masks)
    assert 0.1 < float(torch.stack([mask.float().mean() for mask in masks]).mean()) < 0.3


def test_every_term_falls(collection: Collection) -> None:
    """All of them together on one batch, against negatives that stay: what can be learnt is learnt."""
    views = Views(area=(0.7, 1.0), flip=0, jitter=0, grayscale=0, blur=0)
    terms = Terms(**dict.fromkeys(Terms.__dataclass_fields__, 1.0))
    config = replace(SYMMETRIC, terms=terms, views=views, fima=replace(PLAIN.fima, dropout=0.0))
    source = FileSource(collection)
    samples = Samples(source, config, color_here=False, flows=ComputedFlow(source, config.flow))
    batch = collate([samples[0, place] for place in range(4)])
    clips = to_clips(batch, config, torch.device("cpu"), 0)
    with seeded(0):
        model = Learner(config)
    optimizer = torch.optim.AdamW(model.parameters(), 3e-3)
    curves: list[dict[str, float]] = []
    for step in range(25):
        losses: Losses = model(clips)
        curves.append({name: float(term.detach()) for name, term in losses.terms.items()})
        optimizer.zero_grad()
        losses.total.backward()  # type: ignore[no-untyped-call]
        optimizer.step()
        model.advance(replace(losses, remember=()), step, 25)
    assert {name.removesuffix("_rotated") for name in curves[0]} == set(terms.names) - {"rotated"}
    for name, first in curves[0].items():
        assert sum(curve[name] for curve in curves[-3:]) / 3 < 0.85 * first, (name, curves)


def test_a_run_goes_on_only_from_where_it_read(collection: Collection, tmp_path: Path) -> None:
    """`auto` that comes to something else, since there is less room now, would be another run."""
    config = replace(PLAIN, sampling=Sampling(), terms=Terms(instance=0, flow=1))
    run = pretrain(config, collection, tmp_path / "run")
    kept = (run / CHECKPOINT).read_bytes()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(FlowStore, "plan", lambda *_: 1e15)
        with pytest.raises(CheckpointError) as caught:
            pretrain(config, collection, run, resume=True)
    assert str(caught.value) == (
        f"{run}: was made from store frames, flow_store run, now it would read store frames, flow_store none; "
        "set data.store and flow.store as they were"
    )
    assert (run / CHECKPOINT).read_bytes() == kept
    assert not list(run.glob("*.raw"))
    pretrain(config, collection, run, resume=True)


@pytest.mark.parametrize("poisoned", [False, True])
def test_broken_weights_are_not_saved_when_a_loader_process_dies(
    poisoned: bool, collection: Collection, tmp_path: Path
) -> None:
    """The log is looked at every ten steps: until then nobody knows of the NaN."""

    def after(model: Learner, step: int) -> None:
        if step == 2:
            if poisoned:
                with torch.no_grad():
                    next(model.rgb.projector.parameters())[0] = float("nan")
            for child in multiprocessing.active_children():
                child.kill()

    config = replace(
        SYMMETRIC, terms=Terms(pixel=1), data=Data(workers=1), train=replace(FIMA.train, epochs=20)
    )
    # Whether the dead process had handed over one more batch is a matter of chance.
    found = r"(pixel, loss, gradient not finite at step 4|1 weights of the model \(.*\) not finite at step 3)"
    words = found + r" of 40 \(batch of .*\); the last checkpoint is whole"
    died = r"a loader process died at step \d+ of 40"
    with watched(after), pytest.raises(TrainingError, match=words if poisoned else died):
        pretrain(config, collection, tmp_path / "run")
    state = torch.load(tmp_path / "run" / CHECKPOINT, weights_only=True)
    assert (state["step"] == 2) == poisoned
    assert all(torch.isfinite(value).all() for value in state["model"].values())


@pytest.mark.parametrize(
    ("config", "words"),
    [
        (
            replace(MSCL, flow=replace(MSCL.flow, method="dos")),
            "there is no flow method 'dos'; did you mean dis",
        ),
        (
            replace(FIMA, fima=replace(FIMA.fima, steps=1)),
            r"fima.steps is 1, but the encoder tiny gives 2 .*set fima\.steps=2",
        ),
        (replace(MSCL, model=Model("tidy")), "unknown encoder 'tidy'; did you mean 'tiny'"),
    ],
)
def test_what_cannot_be_is_refused_before_anything_is_decoded(
    config: Config, words: str, collection: Collection, tmp_path: Path
) -> None:
    seen: list[int] = []
    with pytest.raises(ConfigError, match=words):
        pretrain(config, collection, tmp_path / "run", on_decode=lambda done, _: seen.append(done))
    assert not seen
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize("frames", [7, 5])
def test_mscl_on_an_odd_number_of_frames(frames: int, collection: Collection, tmp_path: Path) -> None:
    """Flow is looked at on every second frame, the first and the last among them."""
    config = replace(
        MSCL,
        clip=Clip(frames=frames, stride=2, size=32),
        train=replace(MSCL.train, epochs=1, warmup_epochs=0),
    )
    with watched() as steps:
        pretrain(config, collection, tmp_path / "run")
    assert len(steps[0][0]) == 6
