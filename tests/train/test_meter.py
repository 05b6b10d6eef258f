"""Figures between two looks: their means, what is wrong among them, and how they survive a stop."""

import math
import time

import pytest
import torch
from torch import Tensor

from kinevec.methods.memory import Queue
from kinevec.methods.method import Losses
from kinevec.train.meter import Fault, Meter


def losses(a: float, b: float, queue: int = 12, keys: int = 4) -> Losses:
    terms = {"a": torch.tensor(a), "b": torch.tensor(b)}
    remember: list[tuple[Queue, Tensor]] = [
        (Queue(2, queue), torch.zeros(keys, 2)),
        (Queue(2, 3), torch.zeros(2, 2)),
    ]
    empty = torch.zeros(1, 2)
    return Losses(terms, {"a": 1.0, "b": 0.5}, remember, empty, empty, {"right": torch.tensor(0.25)})


def filled(*pairs: tuple[float, float]) -> Meter:
    meter = Meter(0, 100)
    for step, (a, b) in enumerate(pairs):
        meter.add(step, losses(a, b), torch.tensor(10.0 + step), torch.tensor([step, step + 1]))
    return meter


def test_means() -> None:
    window = filled((1, 2), (2, 4), (6, 0)).window()
    assert window.means() == pytest.approx({"a": 3, "b": 2, "right": 0.25, "loss": 4, "gradient": 11})
    assert (window.steps, window.videos) == ((0, 1, 2), ((0, 1), (1, 2), (2, 3)))
    assert window.fault() is None


@pytest.mark.parametrize("bad", [math.nan, math.inf, -math.inf])
def test_the_first_step_with_a_fault_is_named(bad: float) -> None:
    window = filled((1, 2), (1, bad), (bad, 1)).window()
    assert window.fault() == Fault(1, ("b", "loss"), (1, 2))


def test_a_window_begins_anew_once_it_is_taken_and_not_before() -> None:
    meter = filled((1, 2), (3, 4))
    assert meter.window().means() == meter.window().means() != {}
    meter.take(meter.window())
    assert meter.window().means() == {}
    assert meter.window().fault() is None
    meter.add(2, losses(9, 0), torch.tensor(1.0), torch.tensor([5]))
    assert meter.window().means()["a"] == 9
    assert meter.last == (5,)


def test_the_loss_of_an_epoch_is_the_mean_over_its_steps() -> None:
    meter = filled((1, 0), (2, 0), (6, 0))
    meter.take(meter.window())
    meter.add(3, losses(7, 0), torch.tensor(1.0), torch.tensor([5]))
    meter.take(meter.window())
    assert meter.epoch_loss() == pytest.approx(4)
    meter.add(4, losses(8, 0), torch.tensor(1.0), torch.tensor([5]))
    meter.take(meter.window())
    assert meter.epoch_loss() == pytest.approx(8)
    assert meter.epoch_loss() == math.inf  # every batch was left out


def test_a_meter_goes_on_where_another_stopped() -> None:
    values = [(0.1 * i, 1 / (i + 1)) for i in range(7)]
    whole, first = filled(*values), filled(*values[:3])
    first.take(first.window())
    whole.rows, whole.steps, whole.videos = whole.rows[:3], whole.steps[:3], whole.videos[:3]
    whole.take(whole.window())
    for meter in (whole, first):
        meter.add(3, losses(*values[3]), torch.tensor(2.0), torch.tensor([1]))
    rest = Meter(4, 100)
    rest.restore(first.state(), torch.device("cpu"))
    for meter in (whole, rest):
        meter.add(4, losses(*values[4]), torch.tensor(3.0), torch.tensor([2]))
        assert meter.window().steps == (3, 4)
    assert rest.window().means() == whole.window().means()
    for meter in (whole, rest):
        meter.take(meter.window())
    assert rest.epoch_loss() == whole.epoch_loss()


def test_when_every_queue_holds_only_keys_of_the_run() -> None:
    meter = Meter(0, 10)
    meter.add(0, losses(1, 1, queue=13, keys=4), torch.tensor(1.0), torch.tensor([1]))
    assert meter.fresh == 4  # ceil(13 / 4), and the other queue after ceil(3 / 2)


def test_speed_and_time_left(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = [100.0]
    monkeypatch.setattr(time, "perf_counter", lambda: clock[0])
    meter = Meter(50, 100)
    with meter.waiting():
        clock[0] += 1
    clock[0] += 3
    for step in (50, 51):
        meter.add(step, losses(1, 1), torch.tensor(1.0), torch.tensor([1, 2, 3]))
    status = meter.status(2, 52, {"loss": 1.0}, {"rank": 5.0})
    assert status.clips_per_second == 12 / 4  # two clips of each video
    assert status.waiting == 1 / 4
    assert status.seconds_left == 48 * 2
    assert status.figures == {"loss": 1.0, "rank": 5.0, "clips_per_second": 3.0, "waiting": 0.25}
    clock[0] += 2
    status = meter.status(2, 52, {}, {})
    assert (status.clips_per_second, status.waiting) == (0, 0)
