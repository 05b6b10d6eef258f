"""Charts: numbers land where the axes say they do, and gaps stay gaps."""

import math
import re
import xml.etree.ElementTree as xml
from collections.abc import Sequence

import numpy as np
import pytest

from kinevec.show.curves import MAX_POINTS, Curve, figure, last_value, line_chart, line_styles, ticks

AREA = (
    46.0,
    430.0,
    14.0,
    204.0,
)  # left, right, top, bottom of the plotted area, as the style sheet expects them
NAN = math.nan


def chart(x: Sequence[float], **y: Sequence[float]) -> xml.Element:
    return xml.fromstring(line_chart(Curve("t", "", x, y, ""), line_styles(y)))


def paths(svg: xml.Element) -> list[list[list[tuple[float, float]]]]:
    """The points of every path, stroke by stroke."""
    found = []
    for path in svg.iter("path"):
        strokes = [stroke.split("L") for stroke in path.get("d", "").split("M")[1:]]
        found.append([[tuple(map(float, point.split())) for point in stroke] for stroke in strokes])
    return found


def number(label: str) -> float:
    size = {"k": 1e3, "M": 1e6}.get(label[-1], 1.0)
    return float(label.rstrip("kM").replace("−", "-")) * size


def axis(svg: xml.Element, name: str) -> tuple[list[float], list[float]]:
    """What the labels of an axis say, and where they stand."""
    labels = [text for text in svg.iter("text") if text.get("class") == name]
    return [number(label.text or "") for label in labels], [float(label.get(name, "")) for label in labels]


def test_a_known_line_runs_from_corner_to_corner() -> None:
    left, right, top, bottom = AREA
    assert paths(chart([0, 5, 10], a=[0, 0.5, 1])) == [
        [[(left, bottom), ((left + right) / 2, (top + bottom) / 2), (right, top)]]
    ]
    svg = chart([0, 10], a=[1, 0])
    assert paths(svg) == [[[(left, top), (right, bottom)]]]
    assert axis(svg, "x") == ([0, 2, 4, 6, 8, 10], pytest.approx(np.linspace(left, right, 6), abs=0.06))
    assert axis(svg, "y") == ([0, 0.5, 1], [bottom, (top + bottom) / 2, top])


@pytest.mark.parametrize(
    ("low", "high"), [(2.1, 7.9), (-3, 5), (0.00112, 0.00187), (123_456, 987_654), (-4e6, 5e6)]
)
def test_points_stand_where_the_axes_say(low: float, high: float) -> None:
    rng = np.random.default_rng(0)
    x, y = np.sort(rng.uniform(low, high, 50)), rng.uniform(low, high, 50)
    svg = chart(x.tolist(), a=y.tolist())
    points = np.array(paths(svg)[0][0])
    for values, places, name in ((x, points[:, 0], "x"), (y, points[:, 1], "y")):
        said, at = axis(svg, name)
        assert len(said) >= 3
        slope, offset = np.polyfit(said, at, 1)
        np.testing.assert_allclose(places, slope * values + offset, atol=0.3)
    left, right, top, bottom = AREA
    assert points[0, 0] == left
    assert points[-1, 0] == right
    assert top <= points[:, 1].min() <= points[:, 1].max() <= bottom


@pytest.mark.parametrize(
    ("low", "high"), [(0, 1), (0.3, 0.7), (-7.3, 12), (0, 79_000), (1e-7, 3.3e-7), (99, 101)]
)
def test_ticks_are_round_even_and_cover_the_range(low: float, high: float) -> None:
    found = ticks(low, high, 5)
    steps = np.diff(found)
    mantissa = steps[0] / 10 ** math.floor(math.log10(steps[0]) + 1e-9)
    assert min(abs(mantissa - round_one) for round_one in (1, 2, 5)) < 1e-6
    np.testing.assert_allclose(steps, steps[0])
    np.testing.assert_allclose(np.array(found) / steps[0], np.round(np.array(found) / steps[0]), atol=1e-6)
    assert found[0] <= low + 1e-9 * steps[0]
    assert low < found[1]
    assert found[-2] < high
    assert high <= found[-1] + 1e-9 * steps[0]
    assert 3 <= len(found) <= 6


@pytest.mark.parametrize(
    ("low", "high", "labels"),
    [
        (0, 1, ["0", "0.5", "1.0"]),
        (-2, 2, ["−2", "−1", "0", "1", "2"]),
        (0, 79_000, ["0", "20k", "40k", "60k", "80k"]),
        (1e6, 2e6, ["1.0M", "1.5M", "2.0M"]),
        (0, 4e-6, ["0", "1e−6", "2e−6", "3e−6", "4e−6"]),
        (9e-5, 1.1e-4, ["9.0e−5", "9.5e−5", "1.00e−4", "1.05e−4", "1.10e−4"]),
    ],
)
def test_labels_are_short_and_differ(low: float, high: float, labels: list[str]) -> None:
    svg = chart([0, 1], a=[low, high])
    assert [text.text for text in svg.iter("text") if text.get("class") == "y"] == labels


def test_lines_have_gaps_where_values_are_not_finite() -> None:
    svg = chart(range(8), a=[0, 1, NAN, 3, 4, math.inf, -math.inf, 7])
    strokes = paths(svg)[0]
    assert [len(stroke) for stroke in strokes] == [2, 2]
    left, right, top, bottom = AREA
    assert [point[0] for stroke in strokes for point in stroke] == pytest.approx(
        [left + i * (right - left) / 7 for i in (0, 1, 3, 4)], abs=0.06
    )
    (dot,) = svg.iter("circle")  # the last value has no neighbour to be joined to
    assert float(dot.get("cx", "")) == right
    assert float(dot.get("cy", "")) == pytest.approx(bottom - (bottom - top) * 7 / 8, abs=0.06)
    assert not re.search("nan|inf", xml.tostring(svg, "unicode"))


def test_x_that_is_not_finite_is_a_gap_too() -> None:
    assert [len(stroke) for stroke in paths(chart([0, 1, NAN, 3, 4], a=[0, 1, 2, 3, 4]))[0]] == [2, 2]


@pytest.mark.parametrize(("x", "y"), [([], []), ([1.0], [NAN]), ([1.0, 2.0], [NAN, math.inf])])
def test_nothing_finite_is_said_in_words(x: list[float], y: list[float]) -> None:
    said = line_chart(Curve("t", "", x, {"a": y}, ""), {"a": "s1"})
    assert said == '<p class="empty">Nothing was recorded.</p>'
    assert line_chart(Curve("t", "", x, {}, ""), {}) == said


@pytest.mark.parametrize("value", [0.0, 5.0, -1e-3, 1e7])
def test_one_point_is_a_dot_and_equal_points_are_a_level_line_inside(value: float) -> None:
    left, right, top, bottom = AREA
    (dot,) = chart([3], a=[value]).iter("circle")
    assert left < float(dot.get("cx", "")) < right
    assert top < float(dot.get("cy", "")) < bottom
    (((x0, y0), (x1, y1)),) = paths(chart([0, 1], a=[value, value]))[0]
    assert (x0, x1, y0) == (left, right, y1)
    assert top < y0 < bottom


def test_many_points_are_thinned_but_extremes_stay() -> None:
    y = np.zeros(100_000)
    y[31_111], y[77_777] = 1, -1
    x = np.arange(len(y))
    (points,) = paths(chart(x.tolist(), a=y.tolist()))[0]
    left, right, top, bottom = AREA
    assert len(points) <= MAX_POINTS + 2
    assert (points[0][0], points[-1][0]) == (left, right)
    peak, valley = min(points, key=lambda p: p[1]), max(points, key=lambda p: p[1])
    assert peak == (pytest.approx(left + (right - left) * 31_111 / 99_999, abs=0.06), top)
    assert valley == (pytest.approx(left + (right - left) * 77_777 / 99_999, abs=0.06), bottom)
    assert [p[0] for p in points] == sorted(p[0] for p in points)
    wave = np.sin(np.arange(1 / 3, 100_000))  # begins and ends away from its extremes
    (points,) = paths(chart(x.tolist(), a=wave.tolist()))[0]
    ends = [(bottom + top) / 2 + value * (top - bottom) / 2 for value in (wave[0], wave[-1])]
    assert [points[0], points[-1]] == [
        (left, pytest.approx(ends[0], abs=0.06)),
        (right, pytest.approx(ends[1], abs=0.06)),
    ]
    every = paths(chart(range(MAX_POINTS), a=np.sin(np.arange(MAX_POINTS)).tolist()))[0][0]
    assert len(every) == MAX_POINTS


def test_lengths_must_agree() -> None:
    with pytest.raises(ValueError, match=r"'loss' has 3 values of x, but its y have \{'a': 2\}"):
        Curve("loss", "", [0, 1, 2], {"a": [1, 2], "b": [1, 2, 3]}, "")


def test_colours_belong_to_encoders_and_do_not_repeat_before_they_must() -> None:
    encoders = line_styles(["moco", "untrained", "mscl"])
    assert encoders == {"moco": "s1", "untrained": "s0", "mscl": "s2"}
    curve = Curve("t", "", [0, 1], {"loss": [1, 2], "mscl": [2, 3], "untrained": [0, 1], "moco": [1, 1]}, "")
    page = figure(curve, encoders)
    lines = re.findall(r'<path class="line (s\d)"', page)
    assert lines[1:] == ["s2", "s0", "s1"]
    assert lines[0] not in lines[1:]
    alone = figure(Curve("t", "", [0, 1], {"loss": [1, 2]}, ""), encoders)
    assert re.findall(r'<path class="line (s\d)"', alone) == ["s1"]
    assert sorted(line_styles("abcdef").values()) == [f"s{i}" for i in range(1, 7)]


def test_a_figure_says_what_it_shows() -> None:
    curve = Curve(
        "Loss <1>",
        "nats & co",
        [0, 50],
        {"a<b": [5.5, 2.25], "c": [NAN, NAN], "d": [1, NAN]},
        'It should "fall".',
        "epoch",
    )
    page = figure(curve, {})
    root = xml.fromstring(page)
    text = "".join(root.itertext())
    assert "Loss <1> (nats & co)" in text
    assert 'It should "fall".' in text
    assert "a<b 2.25 at epoch 50" in text
    assert "d 1 at epoch 0" in text
    (svg,) = root.iter("svg")
    assert (
        svg.get("aria-label")
        == "Line chart over epoch 0 to 50: a<b from 5.5 to 2.25; c not recorded; d from 1 to 1."
    )
    assert [text.text for text in svg.iter("text") if text.get("class") == "name"] == ["epoch"]


def test_last_value_skips_what_is_not_finite() -> None:
    assert last_value([1, 2, NAN, math.inf]) == 2
    assert last_value([NAN]) is None


@pytest.mark.parametrize("x", [[1, 2, 3], [0, 1]])
def test_there_are_no_half_steps(x: list[int]) -> None:
    svg = chart(x, a=[0.5] * len(x))
    labels, places = axis(svg, "x")
    assert labels == x
    assert [text.text for text in svg.iter("text") if text.get("class") == "x"] == [str(at) for at in x]
    assert places == sorted(places)
    assert axis(chart([0, 0.5, 1], a=[1, 2, 3]), "x")[0][1] == 0.2
