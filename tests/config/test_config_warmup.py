"""A run that is shorter than its warm-up: shortened where nobody chose the warm-up for it, refused where somebody did."""

import logging
from pathlib import Path

import pytest

from kinevec.config import Config, load
from kinevec.errors import ConfigError


@pytest.mark.parametrize(
    ("epochs", "warmup"), [(1, 0.5), (2, 1.0), (3, 2.0), (60, 2.0)], ids=["one", "two", "three", "many"]
)
def test_the_shortest_trial_of_a_preset_is_half_warm_up(
    epochs: int, warmup: float, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.INFO, "kinevec"):
        config = load("moco", [f"train.epochs={epochs}"])
    assert (config.train.epochs, config.train.warmup_epochs) == (epochs, warmup)
    told = f"train.warmup_epochs is {warmup:g} instead of 2, half of train.epochs={epochs}"
    assert caplog.messages == ([told] if epochs < 3 else [])


def test_a_file_that_says_only_how_many_epochs_is_shortened_too(tmp_path: Path) -> None:
    (tmp_path / "short.toml").write_text("[train]\nepochs = 4\n")
    assert load(tmp_path / "short.toml").train.warmup_epochs == 2
    assert load(tmp_path / "short.toml", ["train.epochs=1"]).train.warmup_epochs == 0.5
    (tmp_path / "empty.toml").write_text("")
    assert load(tmp_path / "empty.toml") == Config()


@pytest.mark.parametrize(
    ("text", "changes"),
    [
        ("epochs = 9", ["train.epochs=2", "train.warmup_epochs=2"]),
        ("epochs = 9", ["train.warmup_epochs=9"]),
        ("epochs = 2\nwarmup_epochs = 2", []),
        ("epochs = 2\nwarmup_epochs = 2", ["train.lr=0.1"]),
    ],
)
def test_a_warm_up_that_was_chosen_is_never_changed(text: str, changes: list[str], tmp_path: Path) -> None:
    (tmp_path / "mine.toml").write_text(f"[train]\n{text}\n")
    with pytest.raises(ConfigError, match=r"train\.warmup_epochs is .*; it must be below train\.epochs"):
        load(tmp_path / "mine.toml", changes)


@pytest.mark.parametrize("value", ["0", "-1", "many", "1.5"])
def test_odd_numbers_of_epochs_are_refused_as_such(value: str) -> None:
    with pytest.raises(ConfigError, match=r"train\.epochs is"):
        load("moco", [f"train.epochs={value}"])
