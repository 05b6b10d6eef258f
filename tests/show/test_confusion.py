"""The confusion matrix: what is counted, and that a picture comes of it whatever the labels."""

import os
from pathlib import Path

import matplotlib.image
import numpy as np
import pytest

from kinevec.errors import OutputError
from kinevec.show.confusion import LONGEST, MOST, confusion, shortened, write_confusion
from kinevec.show.letters import without_middle


def test_counts_are_by_right_class_and_predicted_class() -> None:
    counts, classes = confusion(["b", "a", "b", "b"], [["a", "a", "b", "c"], ["b", "a", "b", "b"]])
    assert classes == ["a", "b", "c"]
    assert counts.tolist() == [[2, 0, 0], [1, 4, 1], [0, 0, 0]]


def test_rows_and_columns_are_not_mixed_up(tmp_path: Path) -> None:
    """All videos of "a" are called "b": the dark cell lies to the right of the light diagonal, in its row."""
    path = tmp_path / "x.png"
    write_confusion(path, ["a"] * 4 + ["b"] * 4, [["b"] * 8], "")
    picture = matplotlib.image.imread(path)[..., :3]
    height, width = picture.shape[:2]
    dark = (picture[..., 2] > 0.25) & (picture[..., 0] < 0.15)  # the colour of 100 %
    columns = np.flatnonzero(dark[:, : int(width * 0.7)].any(0))  # without the colour bar
    rows = np.flatnonzero(dark[:, : int(width * 0.7)].any(1))
    assert len(columns)
    assert columns.max() - columns.min() < width / 3  # one column: b
    assert rows.max() - rows.min() > height / 3  # both rows


@pytest.mark.parametrize("classes", [1, 31, 101])
def test_it_grows_with_the_classes(classes: int, tmp_path: Path) -> None:
    labels = [f"class {i}" for i in range(classes)]
    path = tmp_path / "x.png"
    write_confusion(path, labels, [labels], "linear")
    height, width, _ = matplotlib.image.imread(path).shape
    assert width >= max(400, 24 * classes)  # pixels a class
    assert width < 800 + 60 * classes
    assert height < 800 + 60 * classes


def test_labels_may_be_anything(tmp_path: Path) -> None:
    labels = ["$x_{1", "{\\bf", "<b>", "a\nb", "x" * 300, "動作", " ", "%d"]
    write_confusion(tmp_path / "x.png", labels, [labels[::-1]], "$x_{1 動作 %s")
    assert (tmp_path / "x.png").stat().st_size > 1000


def test_names_lose_their_middle() -> None:
    assert [without_middle("abcdef", letters) for letters in range(1, 7)] == [
        "…",
        "a…",
        "a…f",
        "ab…f",
        "ab…ef",
        "abcdef",
    ]


def test_labels_that_are_no_text_are_escaped(tmp_path: Path) -> None:
    odd = os.fsdecode(b"\xe9")
    write_confusion(tmp_path / "a.png", [odd, "b"], [[odd, "b"]], f"of {odd}")
    assert (tmp_path / "a.png").stat().st_size > 1000


def test_labels_keep_both_ends_and_stay_apart() -> None:
    ends = [f"utd_mhad_right_arm_draw_circle_{way}" for way in ("ccw", "cw")]
    for whole, short in zip(ends, shortened(ends), strict=True):
        head, tail = short.split("…")
        assert len(short) == LONGEST
        assert whole.startswith(head)
        assert whole.endswith(tail)
    middle = ["a" * 20 + name + "b" * 20 for name in ("left", "right")]
    assert shortened([*middle, "x" * 40, "c"])[2:] == ["x" * 14 + "…" + "x" * 13, "c"]
    first, second = shortened(middle)
    assert first != second
    assert len(first) > LONGEST
    deep = ["a" * 200 + name + "b" * 200 for name in ("1", "2")]
    assert len(set(shortened(deep))) == 2
    assert max(map(len, shortened(deep))) <= MOST + len(" (2)")


@pytest.mark.parametrize("letters", [1, 40])
def test_the_title_stands_right_above_the_matrix(letters: int, tmp_path: Path) -> None:
    labels = [name * letters for name in "abcdef"]
    write_confusion(tmp_path / "x.png", labels, [labels], "title")
    picture = matplotlib.image.imread(tmp_path / "x.png")[..., :3]
    inked = np.flatnonzero((picture < 0.9).any((1, 2)))
    title, matrix, *_ = np.split(inked, np.flatnonzero(np.diff(inked) > 3) + 1)
    assert matrix[0] - title[-1] < 30  # pixels


def test_a_place_that_cannot_be_written(tmp_path: Path) -> None:
    with pytest.raises(OutputError):
        write_confusion(tmp_path / "missing" / "x.png", ["a"], [["a"]], "")
