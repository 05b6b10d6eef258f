"""The benchmark's scripts can be imported, and there is a folder of made depth videos."""

import sys
from pathlib import Path

import av
import numpy as np
import pytest
from made_people import CLASSES, SIDE, walk

sys.path.insert(0, str(Path(__file__).parents[2] / "benchmarks" / "science"))


@pytest.fixture(scope="session")
def depth(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of depth videos: four classes, three people, of whom the last is test, two videos each."""
    root = tmp_path_factory.mktemp("depth")
    lines = ["path,label,group,split"]
    for label in CLASSES:
        (root / label).mkdir()
        for person, split in (("a", "train"), ("b", "train"), ("c", "test")):
            for take in (1, 2):
                name = f"{label}/{person}{take}.mp4"
                with av.open(str(root / name), "w") as container:
                    stream = container.add_stream("libx264", rate=30, options={"crf": "10"})
                    stream.width = stream.height = SIDE
                    stream.pix_fmt = "yuv420p"
                    for grey in walk(label):
                        frame = np.repeat(grey[..., None], 3, 2)
                        container.mux(stream.encode(av.VideoFrame.from_ndarray(frame, format="rgb24")))
                    container.mux(stream.encode())
                lines.append(f"{name},{label},{person},{split}")
    (root / "labels.csv").write_text("\n".join(lines) + "\n")
    return root
