"""Made videos for timing: 320×240, 10 seconds at 30 frames a second, H.264 as x264 writes it by default.

A textured ground under a moving camera, a textured disc that moves by itself, and the noise of a sensor: what
compresses to nothing would decode too fast. Key frames come every 250 frames, and most frames are B-frames.
"""

from collections.abc import Iterator
from pathlib import Path

import av
import cv2
import numpy as np
from numpy.typing import NDArray

from kinevec.data.textures import background_canvas, background_families
from kinevec.data.whole import write_whole

WIDTH, HEIGHT, FPS, FRAMES = 320, 240, 30, 300
DISC = 96  # pixels
NOISE = 4.0  # standard deviation, of 255


def make_videos(folder: Path, count: int) -> list[Path]:
    """Writes `count` videos, or those that are not there yet; the same number gives the same video."""
    folder.mkdir(parents=True, exist_ok=True)
    paths = [folder / f"{number:03}.mp4" for number in range(count)]
    for number, path in enumerate(paths):
        if not path.exists():
            write_whole(path, lambda aside, number=number: _encode(aside, _frames(number)))
    return paths


def _frames(number: int) -> Iterator[NDArray[np.uint8]]:
    rng = np.random.default_rng(number)
    families = background_families(10)
    ground, thing = (
        255 * background_canvas(rng, families[(number + shift) % 10], 10, side)
        for shift, side in ((0, 640), (3, 160))
    )
    noise = rng.normal(0, NOISE, (16, HEIGHT, WIDTH, 3)).astype(np.float32)
    disc = cv2.circle(np.zeros((DISC, DISC), np.float32), (DISC // 2, DISC // 2), DISC // 2 - 4, 1.0, -1)
    disc = cv2.GaussianBlur(disc, (0, 0), 1)[..., None]
    phases, speeds = rng.uniform(0, 2 * np.pi, 4), rng.uniform(0.2, 1.2, 4)
    for t in range(FRAMES):
        a, b, c, d = np.sin(speeds * (1, 1, 2, 2) * t / FPS + phases)
        picture = cv2.getRectSubPix(ground, (WIDTH, HEIGHT), (320 + 100 * a, 320 + 100 * b))
        x, y = int((WIDTH - DISC) / 2 + 100 * c), int((HEIGHT - DISC) / 2 + 60 * d)
        texture = cv2.getRectSubPix(thing, (DISC, DISC), (80 + 20 * b, 80 + 20 * a))
        part = picture[y : y + DISC, x : x + DISC]
        part += disc * (texture - part)
        picture += noise[rng.integers(len(noise))]
        yield picture.clip(0, 255).astype(np.uint8)


def _encode(path: Path, frames: Iterator[NDArray[np.uint8]]) -> None:
    with av.open(str(path), "w", format="mp4") as container:
        stream = container.add_stream("libx264", rate=FPS)
        stream.width, stream.height = WIDTH, HEIGHT
        stream.pix_fmt = "yuv420p"
        for frame in frames:
            container.mux(stream.encode(av.VideoFrame.from_ndarray(frame, format="rgb24")))
        container.mux(stream.encode())
