"""Fine-tuning: its schedule, what it changes, that it learns what is there and nothing else."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from kinevec.config import Clip, Config, Terms, Train, Views
from kinevec.data.batch import Batch
from kinevec.data.records import Record
from kinevec.data.source import Collection, open_videos
from kinevec.encoders import Loaded
from kinevec.errors import CheckpointError, ConfigError, DataError, InputError, TrainingError
from kinevec.evaluate import finetune as module
from kinevec.evaluate.classifier import Classifier, classify_videos, load_classifier, save_classifier
from kinevec.evaluate.features import clips_of
from kinevec.evaluate.finetune import FinetuneConfig, finetune
from kinevec.evaluate.finetune_config import PRESETS, finetune_config, learning_rate
from kinevec.evaluate.labelled import LabelledClips, supervised
from kinevec.models import build_encoder
from kinevec.runtime import seeded
from kinevec.views.pipeline import finish_batch
from painted import coloured_set, painted_video

CONFIG = Config(
    clip=Clip(frames=4, stride=1, size=16),
    views=Views(area=(0.6, 1.0), jitter=0, grayscale=0, blur=0),
    terms=Terms(instance=0, flow=1),  # what pretraining needed is of no matter here
    train=Train(precision="fp32", seed=7),
)
SMALL = FinetuneConfig(
    dropout=0.2, epochs=10, optimizer="adamw", lr=0.003, batch=6, clips=2, precision="fp32", workers=0
)


def loaded(seed: int = 0) -> Loaded:
    with seeded(seed):
        return Loaded(build_encoder("tiny"), CONFIG, "untrained:tiny", 0)


@pytest.fixture(scope="module")
def videos(tmp_path_factory: pytest.TempPathFactory) -> Collection:
    """Nine training and nine test videos of three brightnesses."""
    folder = tmp_path_factory.mktemp("videos")
    return coloured_set(folder, "abc" * 6, ["train"] * 9 + ["test"] * 9)


def parts(videos: Collection) -> tuple[Collection, Collection]:
    train, test = (videos.only(lambda record, s=split: record.split == s) for split in ("train", "test"))
    return train, test


def relabelled(videos: Collection, labels: str) -> Collection:
    records = tuple(replace(r, label=label) for r, label in zip(videos.records, labels, strict=True))
    return Collection(records, videos.infos, videos.rejected)


def test_the_published_schedule() -> None:
    config = FinetuneConfig()
    rates = [learning_rate(epoch, config) for epoch in range(150)]
    assert rates == pytest.approx([0.01] * 60 + [0.001] * 60 + [0.0001] * 30)
    assert (config.weight_decay, config.dropout, config.clips, config.optimizer) == (1e-4, 0.7, 10, "sgd")
    assert PRESETS["ucf101"] == config
    assert PRESETS["hmdb51"] == replace(config, dropout=0.5)


@pytest.mark.parametrize(
    ("epochs", "drops"), [(10, (4, 8)), (5, (2, 4)), (1, (1, 1)), (2, (1, 2)), (40, (16, 32))]
)
def test_shorter_schedules_fall_at_the_same_shares(epochs: int, drops: tuple[int, int]) -> None:
    config = FinetuneConfig(epochs=epochs, lr=2.0, factor=0.5)
    expected = [2.0 * 0.5 ** sum(epoch >= drop for drop in drops) for epoch in range(epochs)]
    assert [learning_rate(epoch, config) for epoch in range(epochs)] == pytest.approx(expected)


def test_a_cosine_falls_from_lr_towards_nothing() -> None:
    config = FinetuneConfig(schedule="cosine", epochs=4, lr=2.0)
    rates = [learning_rate(epoch, config) for epoch in range(4)]
    assert rates == pytest.approx([2.0, 1 + 0.5**0.5, 1.0, 1 - 0.5**0.5])


def test_changes_of_a_preset() -> None:
    config = finetune_config(
        "small", ["epochs=3", "drops=[0.5, 0.75]", "optimizer=sgd", "lr=1", "freeze=true"]
    )
    assert config == replace(
        PRESETS["small"], epochs=3, drops=(0.5, 0.75), optimizer="sgd", lr=1.0, freeze=True
    )
    with pytest.raises(ConfigError, match="unknown fine-tuning 'ucf'; known: ucf101, hmdb51, small"):
        finetune_config("ucf")
    with pytest.raises(ConfigError, match="unknown key 'epoch'; did you mean 'epochs'"):
        finetune_config("small", ["epoch=3"])
    with pytest.raises(ConfigError, match="cannot read the change 'epochs'"):
        finetune_config("small", ["epochs"])


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"dropout": 1.0}, "dropout is 1.0"),
        ({"epochs": 0}, "epochs is 0"),
        ({"drops": (0.8, 0.4)}, "0 < first ≤ second"),
        ({"factor": 0.0}, "factor is 0.0"),
        ({"lr": 0.0}, "lr is 0.0"),
        ({"weight_decay": -1.0}, "weight_decay is -1.0"),
        ({"batch": 1}, "batch is 1"),
        ({"clips": 0}, "clips is 0"),
        ({"crops": 2}, "crops is 2"),
        ({"workers": -2}, "workers is -2"),
        ({"seed": -1}, "seed is -1"),
    ],
)
def test_nonsense_is_refused(change: dict[str, object], words: str) -> None:
    with pytest.raises(ConfigError, match=words):
        FinetuneConfig(**change)  # type: ignore[arg-type]


def test_it_learns_what_is_there(videos: Collection) -> None:
    encoder = loaded()
    before = {name: value.clone() for name, value in encoder.encoder.state_dict().items()}
    told: list[tuple[int, int]] = []
    found = finetune(encoder, *parts(videos), SMALL, "cpu", lambda *at: told.append(at))
    assert found.scores["finetune top-1"] > 85
    assert found.labels == tuple("abc" * 3)
    assert list(found.scores) == ["finetune top-1", "finetune top-5", "finetune per class"]
    for name, value in encoder.encoder.state_dict().items():
        assert torch.equal(value, before[name]), name  # a copy was trained
    total = 9 + 10 * 1 + 9  # decoded, steps, tested
    assert told[-1] == (total, total)
    assert [done for done, _ in told] == sorted({done for done, _ in told})
    facts = found.facts["finetune"]
    assert facts["train_videos"] == 9  # type: ignore[index]
    losses = facts["loss_by_epoch"]  # type: ignore[index]
    assert len(losses) == 10
    assert losses[0] == pytest.approx(np.log(3), abs=0.2)
    assert losses[-1] < 0.5 * losses[0]


def test_it_learns_nothing_that_is_not_there(videos: Collection) -> None:
    """Every brightness has each label equally often, in train and in test."""
    train, test = parts(videos)
    shuffled = "abcbcacab"
    found = finetune(loaded(), relabelled(train, shuffled), relabelled(test, shuffled), SMALL, "cpu")
    assert found.scores["finetune top-1"] < 70


def test_the_seed_decides_everything_and_leaves_no_trace(videos: Collection) -> None:
    config = replace(SMALL, epochs=2, clips=1)
    torch.manual_seed(1)
    state = torch.get_rng_state()
    first = finetune(loaded(), *parts(videos), config, "cpu")
    assert torch.equal(torch.get_rng_state(), state)
    torch.manual_seed(2)
    again = finetune(loaded(), *parts(videos), config, "cpu")
    other = finetune(loaded(), *parts(videos), replace(config, seed=1), "cpu")
    losses = [found.facts["finetune"]["loss_by_epoch"] for found in (first, again, other)]  # type: ignore[index]
    assert losses[0] == losses[1] != losses[2]
    assert first.predicted == again.predicted


def test_a_frozen_encoder_stays_as_it_is_to_the_bit(videos: Collection, tmp_path: Path) -> None:
    encoder = loaded()
    config = replace(SMALL, freeze=True, epochs=3, lr=0.5, optimizer="sgd", clips=1)
    found = finetune(encoder, *parts(videos), config, "cpu", save=tmp_path / "frozen.safetensors")
    assert list(found.scores) == ["linear-sgd top-1", "linear-sgd top-5", "linear-sgd per class"]
    finetune(
        encoder, *parts(videos), replace(config, freeze=False), "cpu", save=tmp_path / "tuned.safetensors"
    )
    frozen, tuned = (load_classifier(tmp_path / f"{name}.safetensors").model for name in ("frozen", "tuned"))
    assert frozen.freeze
    assert not tuned.freeze
    changed = set()
    for name, value in encoder.encoder.state_dict().items():
        assert torch.equal(value, frozen.encoder.state_dict()[name]), name
        if not torch.equal(value, tuned.encoder.state_dict()[name]):
            changed.add(name)
    assert changed == set(encoder.encoder.state_dict())  # weights and batch-norm statistics alike
    assert float(frozen.linear.weight.detach().abs().max()) > 0.05  # drawn with 0.01


def test_a_frozen_encoder_gives_features_of_unit_length() -> None:
    with seeded(0):
        model = Classifier(build_encoder("tiny"), 128, freeze=True)
    torch.nn.init.eye_(model.linear.weight)
    lengths = model.eval()(torch.randn(3, 3, 4, 16, 16)).norm(dim=1)
    torch.testing.assert_close(lengths, torch.ones(3))
    model.train()
    assert not model.encoder.training
    assert model.dropout.training


def test_features_are_dropped_in_training_only() -> None:
    with seeded(0):
        model = Classifier(build_encoder("tiny"), 128, dropout=0.7, freeze=True)
    torch.nn.init.eye_(model.linear.weight)
    x = torch.randn(16, 3, 4, 16, 16, generator=torch.Generator().manual_seed(0))
    whole = model.eval()(x) == 0
    with seeded(1):
        dropped = model.train()(x) == 0
    assert float(dropped[~whole].float().mean()) == pytest.approx(0.7, abs=0.05)


def test_the_optimisers_are_those_of_the_configuration() -> None:
    with seeded(0):
        models = [Classifier(build_encoder("tiny"), 3, freeze=freeze) for freeze in (False, True)]
    sgd = module._optimizer(models[0], FinetuneConfig(lr=0.5, weight_decay=0.25))
    assert isinstance(sgd, torch.optim.SGD)
    assert (sgd.defaults["lr"], sgd.defaults["momentum"], sgd.defaults["weight_decay"]) == (0.5, 0.9, 0.25)
    assert len(sgd.param_groups[0]["params"]) == len(list(models[0].parameters()))
    adam = module._optimizer(models[1], FinetuneConfig(optimizer="adamw", weight_decay=0.125))
    assert isinstance(adam, torch.optim.AdamW)
    assert adam.defaults["weight_decay"] == 0.125
    assert adam.param_groups[0]["params"] == list(models[1].linear.parameters())


def test_every_epoch_sees_the_videos_in_another_order(
    videos: Collection, monkeypatch: pytest.MonkeyPatch
) -> None:
    orders: list[list[int]] = []
    step = module._Work.train_step

    def noted(work: module._Work, found: Batch, *more: object) -> torch.Tensor:
        orders.append(found.index.tolist())
        return step(work, found, *more)  # type: ignore[arg-type]

    monkeypatch.setattr(module._Work, "train_step", noted)
    finetune(loaded(), *parts(videos), replace(SMALL, epochs=6, clips=1), "cpu")
    assert len({tuple(order) for order in orders}) == 6
    assert {index for order in orders for index in order} == set(range(9))  # six of nine in each


def test_a_saved_classifier_gives_the_same_answers(videos: Collection, tmp_path: Path) -> None:
    path = tmp_path / "classifier.safetensors"
    config = replace(SMALL, epochs=1)
    found = finetune(loaded(), *parts(videos), config, "cpu", save=path)
    (plain := tmp_path / "plain").touch()
    assert path.stat().st_mode == plain.stat().st_mode  # others may read it
    saved = load_classifier(path)
    assert saved.classes == ["a", "b", "c"]
    assert saved.config == CONFIG
    _, test = parts(videos)
    _, scores = classify_videos(saved.model, saved.config, test, 2, 1, torch.device("cpu"), "fp32")
    assert [saved.classes[i] for i in scores.argmax(1)] == list(found.predicted["finetune"][0])


def test_softmax_scores_are_averaged_over_clips_and_crops(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    frames = rng.integers(0, 256, (12, 24, 40, 3), dtype=np.uint8)
    wide = open_videos([Record(painted_video(tmp_path / "wide.mp4", frames), "wide.mp4", "a")])
    with seeded(3):
        model = Classifier(build_encoder("tiny"), 3).eval()
    torch.nn.init.normal_(model.linear.weight, std=1.0, generator=torch.Generator().manual_seed(0))
    _, found = classify_videos(model, CONFIG, wide, 4, 3, torch.device("cpu"), "fp32")
    clips = clips_of(CONFIG, wide.infos[0], 4, 3)
    assert clips.shape == (12, 4, 16, 16, 3)
    expected = []
    with torch.no_grad():
        for clip in clips:
            logits = model(finish_batch(torch.from_numpy(clip[None]), CONFIG.views))[0].double().numpy()
            expected.append(np.exp(logits) / np.exp(logits).sum())
    assert np.std(expected, axis=0).max() > 1e-3
    np.testing.assert_allclose(found[0], np.mean(expected, axis=0), rtol=1e-5)


def test_bf16_is_guarded_and_trains(videos: Collection, monkeypatch: pytest.MonkeyPatch) -> None:
    guarded: list[torch.Size] = []

    def seen(model: torch.nn.Module, example: torch.Tensor) -> None:
        assert model.training
        guarded.append(example.shape)

    monkeypatch.setattr(module, "guard_bf16", seen)
    config = replace(SMALL, epochs=1, clips=1, precision="bf16")
    found = finetune(loaded(), *parts(videos), config, "cpu")
    assert guarded == [(4, 3, 4, 16, 16)]
    assert found.facts["finetune"]["precision"] == "bf16"  # type: ignore[index]


def test_test_videos_are_looked_at_after_training_only(
    videos: Collection, monkeypatch: pytest.MonkeyPatch
) -> None:
    order: list[str] = []
    train_step, classify = module._Work.train_step, module.classify_videos
    monkeypatch.setattr(
        module._Work, "train_step", lambda *given: order.append("train") or train_step(*given)
    )
    monkeypatch.setattr(
        module, "classify_videos", lambda *given, **more: order.append("test") or classify(*given, **more)
    )
    train, test = parts(videos)
    finetune(loaded(), train, test, replace(SMALL, epochs=2, clips=1), "cpu")
    assert order == ["train"] * 2 + ["test"]


def test_a_clip_is_whole_and_anywhere_in_the_video() -> None:
    class Numbered:
        """Forty frames of one value each."""

        def __len__(self) -> int:
            return 1

        def frames(self, index: int) -> int:
            return 40

        def read(self, index: int, numbers: list[int]) -> object:
            frames = np.tile(np.array(numbers, np.uint8)[:, None, None, None], (1, 20, 20, 3))
            return type("Clip", (), {"frames": frames})()

    config = supervised(replace(CONFIG, clip=Clip(frames=4, stride=3, size=16)), 0)
    clips = LabelledClips(Numbered(), config, color_here=True)  # type: ignore[arg-type]
    starts = []
    for epoch in range(400):
        (cut,) = clips[epoch, 0].cuts["rgb"]
        numbers = cut.clip[:, 0, 0, 0].astype(int)
        assert np.diff(numbers).tolist() == [3, 3, 3]
        starts.append(numbers[0])
    assert (min(starts), max(starts)) == (0, 30)
    assert len(set(starts)) == 31
    assert config.train.seed == 0
    assert not config.motions


def test_unlabelled_videos_are_left_out(videos: Collection) -> None:
    train, test = parts(videos)
    some = relabelled(train, "abcabcabc")
    records = tuple(replace(r, label=None) if i < 2 else r for i, r in enumerate(some.records))
    config = replace(SMALL, epochs=1, clips=1)
    found = finetune(loaded(), Collection(records, train.infos, ()), test, config, "cpu")
    assert found.facts["finetune"]["train_videos"] == 7  # type: ignore[index]
    assert len(found.videos) == 9


@pytest.mark.parametrize("labels", ["aaaaaaaaa", ""])
def test_too_little_to_learn_from_is_refused(labels: str, videos: Collection) -> None:
    train, test = parts(videos)
    few = relabelled(train, labels) if labels else train.only(lambda record: False)
    with pytest.raises(
        DataError, match=r"fine-tuning needs labelled videos: found \d of \d classes in train"
    ):
        finetune(loaded(), few, test, SMALL, "cpu")


def test_a_label_that_train_lacks_is_a_miss(videos: Collection) -> None:
    train, test = parts(videos)
    found = finetune(loaded(), train, relabelled(test, "z" * 9), replace(SMALL, epochs=1, clips=1), "cpu")
    assert found.scores["finetune top-5"] == 0


def test_test_videos_that_do_not_decode_are_left_out(videos: Collection) -> None:
    train, test = parts(videos)
    infos = (replace(test.infos[0], path=Path("gone.mp4")), *test.infos[1:])
    broken = Collection(test.records, infos, ())
    found = finetune(loaded(), train, broken, replace(SMALL, epochs=1, clips=1), "cpu")
    assert found.videos == tuple(test.names())[1:]
    with pytest.raises(DataError, match="none of 1 videos decodes"):
        finetune(
            loaded(),
            train,
            broken.only(lambda record: record.name == broken.records[0].name),
            replace(SMALL, epochs=1),
            "cpu",
        )


def test_a_loss_that_is_not_finite_stops(videos: Collection) -> None:
    config = replace(SMALL, optimizer="sgd", lr=1e30, epochs=4)
    with pytest.raises(TrainingError, match="not finite in epoch"):
        finetune(loaded(), *parts(videos), config, "cpu")


@pytest.mark.parametrize("content", [b"", b"text", None])
def test_files_that_are_no_classifier(content: bytes | None, tmp_path: Path) -> None:
    path = tmp_path / "x.safetensors"
    if content is None:
        with pytest.raises(InputError, match="no such file"):
            load_classifier(path)
        return
    path.write_bytes(content)
    with pytest.raises(CheckpointError, match="damaged, or no classifier"):
        load_classifier(path)


def test_a_classifier_of_another_shape_is_refused(tmp_path: Path) -> None:
    with seeded(0):
        model = Classifier(build_encoder("tiny"), 3)
    save_classifier(tmp_path / "x.safetensors", model, CONFIG, ["a", "b"])
    with pytest.raises(CheckpointError, match="size mismatch"):
        load_classifier(tmp_path / "x.safetensors")
