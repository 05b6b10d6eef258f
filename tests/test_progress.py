"""What a person sees while a run goes on."""

import importlib
from dataclasses import replace

import pytest

from kinevec.train.meter import Status

app = importlib.import_module("kinevec.cli.app")  # the package has an attribute of that name

STATUS = Status(
    3,
    20,
    90,
    41.6,
    0.125,
    100_000.4,
    {"instance": 4.5678, "loss": 4.5678},
    {"spread": 0.913, "rank": 33.4, "stale": 0.2},
)
LINE = (
    "training: 20 of 90; epoch 3, 42 clips/s, waiting 12%, instance 4.57 loss 4.57 spread 0.91 rank 33, "
    "1 day, 3:46:40 left"
)


def test_without_a_terminal_a_line_comes_now_and_then(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = [0.0]
    monkeypatch.setattr("time.monotonic", lambda: clock[0])
    bars = app.Bars(None)
    for second in range(50):
        clock[0] = float(second)
        bars.trained(replace(STATUS, step=second))
    said = capsys.readouterr().err.splitlines()
    assert [line.split()[1] for line in said] == ["21", "42"]
    bars.trained(replace(STATUS, step=90))
    assert capsys.readouterr().err.startswith("training: 90 of 90")


@pytest.mark.parametrize(
    ("ailing", "words"), [((), ""), (("collapse", "loader slow"), "COLLAPSE, LOADER SLOW, ")]
)
def test_a_line_says_how_the_run_stands(
    ailing: tuple[str, ...], words: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(app, "QUIET_SECONDS", -1)
    app.Bars(None).trained(replace(STATUS, ailing=ailing))
    assert capsys.readouterr().err == LINE.replace("1 day", f"{words}1 day") + "\n"


def test_brackets_in_the_name_of_a_run_are_not_markup(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(app.console, "_force_terminal", True)
    monkeypatch.setattr(app.console, "_width", 200)
    for name in ("encoding of runs/[seed0]", "encoding of runs/[/x]"):
        with app.progress_bars() as bars:
            bars.counted(name, 3, 3)
        assert name in capsys.readouterr().err
