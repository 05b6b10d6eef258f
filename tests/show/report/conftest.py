"""A small report of everything that one can show."""

from pathlib import Path

import pytest

from faults import zero_byte
from kinevec.show.report import Curve, Neighbour, Report, Row
from numbered import numbered_video


@pytest.fixture(scope="module")
def videos(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    folder = tmp_path_factory.mktemp("videos")
    sizes = {"one": (64, 64), "two": (96, 64), "three": (64, 96)}
    made = {name: numbered_video(folder / f"{name}.mp4", 4, size) for name, size in sizes.items()}
    return {**made, "bad": zero_byte(folder / "bad.mp4")}


@pytest.fixture
def report(videos: dict[str, Path]) -> Report:
    def near(name: str, label: str | None, similarity: float) -> Neighbour:
        return Neighbour(videos[name], f"{name}.mp4", label, similarity)

    rows = (
        Row(
            videos["one"],
            "one.mp4",
            "wave",
            {
                "moco": (near("two", "wave", 0.934), near("three", "clap", 0.5), near("one", None, -0.126)),
                "untrained": (near("bad", "clap", 0.3), near("two", "wave", 0.2)),
            },
        ),
        Row(videos["two"], "two.mp4", None, {"moco": (near("one", "wave", 1.0),), "untrained": ()}),
    )
    return Report(
        title="What moco learned",
        summary=("It learned something.", "And more."),
        scores={
            "moco": {"R@1": 40.24, "linear probe": 20.0},
            "untrained": {"R@1": 19.12, "linear probe": 24.5},
        },
        chance={"R@1": 3.7, "linear probe": 4.0},
        curves=(Curve("Loss", "nats", [0, 1, 2], {"loss": [3.0, 2.0, 1.0]}, "It should fall."),),
        rows=rows,
        facts={"seed": "0", "command": "kinevec demo"},
    )
