"""Warnings come when something is wrong for a while, say what to do, and are not repeated all the time."""

from dataclasses import replace

import pytest

from kinevec.config import Config, Method
from kinevec.train.alarms import AGAIN, PATIENCE, SETTLED, Alarm, Alarms, collapsed, signs
from kinevec.train.meter import Status

CONFIG = Config(method=Method(dim=100, queue=640))
SOUND = {"spread": 0.9, "rank": 60.0, "alignment": 0.4, "uniformity": -3.5, "stale": 0.1}
STATUS = Status(3, 1000, 9000, 50.0, 0.05, 60.0, {"loss": 2.0}, SOUND)


def names(status: Status, fresh: int = 10) -> list[str]:
    return [alarm.name for alarm in signs(status, CONFIG, fresh)]


def test_a_sound_run_gives_no_sign() -> None:
    assert names(STATUS) == []
    assert names(replace(STATUS, health={})) == []


@pytest.mark.parametrize(
    ("health", "waiting", "name"),
    [
        ({"spread": 0.09}, 0.0, "collapse"),
        ({"rank": 9.9}, 0.0, "collapse"),
        ({"stale": 0.81}, 0.0, "stale queue"),
        ({}, 0.31, "loader slow"),
    ],
)
def test_signs(health: dict[str, float], waiting: float, name: str) -> None:
    assert names(replace(STATUS, health=SOUND | health, waiting=waiting)) == [name]


def test_just_sound_is_sound() -> None:
    assert (
        names(replace(STATUS, health=SOUND | {"spread": 0.1, "rank": 10.0, "stale": 0.8}, waiting=0.3)) == []
    )


def test_a_run_that_has_just_begun_is_left_alone() -> None:
    ill = replace(STATUS, health=SOUND | {"spread": 0.0, "stale": 1.0}, step=SETTLED - 1)
    assert names(ill) == []
    assert names(replace(ill, step=SETTLED)) == ["collapse"]
    assert names(replace(ill, step=SETTLED + 19)) == ["collapse"]
    assert names(replace(ill, step=SETTLED + 20)) == ["collapse", "stale queue"]  # turned over twice


def test_words_say_what_to_do_in_one_line() -> None:
    ill = replace(STATUS, health=SOUND | {"spread": 0.05, "rank": 1.5, "stale": 0.9}, waiting=0.62)
    collapse, stale, slow = (alarm.words for alarm in signs(ill, CONFIG, 10))
    assert "spread 0.05" in collapse
    assert "effective rank 1.5 of 100" in collapse
    assert "lower train.lr (now 0.02)" in collapse
    assert "method.centred=true" in collapse
    centred = replace(CONFIG, method=replace(CONFIG.method, centred=True))
    assert "centred" not in signs(ill, centred, 10)[0].words
    assert "10 steps old" in stale
    assert "lower method.queue (now 640)" in stale
    assert "62% of the time" in slow
    assert "raise data.workers" in slow
    assert not any("\n" in words for words in (collapse, stale, slow))


def test_collapse_is_relative_to_the_dimensions() -> None:
    assert collapsed(SOUND | {"rank": 6.0}, 100)
    assert not collapsed(SOUND | {"rank": 6.0}, 50)


def test_it_is_said_after_a_while_and_then_now_and_then() -> None:
    alarms, alarm = Alarms(), Alarm("collapse", "words")
    said = [look for look in range(1, 2 * AGAIN + 20) if alarms.heed([alarm])]
    assert said == [PATIENCE, PATIENCE + AGAIN, PATIENCE + 2 * AGAIN]
    assert alarms.ailing == ("collapse",)


def test_a_good_look_begins_anew() -> None:
    alarms, alarm = Alarms(), Alarm("collapse", "words")
    for _ in range(3):
        assert not any(alarms.heed([alarm]) for _ in range(PATIENCE - 1))
        assert alarms.ailing == ()
        assert alarms.heed([]) == []


def test_counts_go_on_after_a_restart_and_each_alarm_has_its_own() -> None:
    one, two = Alarm("one", "1"), Alarm("two", "2")
    alarms = Alarms()
    for _ in range(PATIENCE - 1):
        alarms.heed([one])
    alarms = Alarms(alarms.counts)
    assert alarms.heed([one, two]) == ["1"]
    assert alarms.ailing == ("one",)
    assert Alarms(alarms.counts).heed([one, two]) == []
