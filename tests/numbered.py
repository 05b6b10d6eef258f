"""Intact videos whose every frame shows its own number, so that a test knows which frame it was given."""

from collections.abc import Mapping, Sequence
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
from numpy.typing import NDArray

# Cells of a numbered frame: 1 white, 0 black, -1 free. The fixed ones look different under each of the eight
# turns and mirrorings of a frame.
LAYOUT = np.array([[1, 1, -1, -1, 0], [0, *[-1] * 4], [-1] * 5, [-1] * 5, [0, -1, -1, -1, 0]])
GRID = len(LAYOUT)
FREE = LAYOUT < 0
BITS = 12  # of the number; the rest of the free cells is a check
CHECK_BITS = int(FREE.sum()) - BITS
CODEC_OPTIONS = {
    "libx264": {"preset": "veryfast", "crf": "18", "sc_threshold": "0"}
}  # no keyframes of its own


def numbered_frame(number: int, size: tuple[int, int]) -> NDArray[np.uint8]:
    """A frame that shows its number: (H, W, 3), 5 × 5 black and white cells over the whole of it.

    Args:
        number: below 4,096.
        size: width and height in pixels.
    """
    if not 0 <= number < 2**BITS:
        raise ValueError(f"a frame shows numbers from 0 to {2**BITS - 1}, not {number}")
    width, height = size
    code = number << CHECK_BITS | _check(number)
    cells = LAYOUT.copy()
    cells[FREE] = [code >> i & 1 for i in range(BITS + CHECK_BITS)]
    gray = 255 * cells[np.arange(height) * GRID // height][:, np.arange(width) * GRID // width]
    return np.repeat(gray[..., None], 3, axis=2).astype(np.uint8)


def read_number(frame: NDArray[np.uint8]) -> int:
    """The number that a frame shows.

    Args:
        frame: (H, W, 3), upright and uncropped; coded and resized as it may be, to at least 20 × 20 pixels.

    Raises:
        ValueError: it shows none: another picture, damaged beyond reading, turned or mirrored.
    """
    height, width = frame.shape[:2]
    gray = frame.astype(np.float64).mean(axis=2)
    cells = np.array(
        [[gray[_inner(r, height), _inner(c, width)].mean() for c in range(GRID)] for r in range(GRID)]
    )
    white, black = cells[LAYOUT == 1].min(), cells[LAYOUT == 0].max()
    if white - black < 64:
        raise ValueError(f"no numbered frame: its white is {white:.0f} and its black {black:.0f}")
    code = sum(int(bit) << i for i, bit in enumerate(cells[FREE] > (white + black) / 2))
    number, check = divmod(code, 2**CHECK_BITS)
    if check != _check(number):
        raise ValueError(f"no numbered frame: it would be {number}, but the check does not fit")
    return number


def _inner(cell: int, length: int) -> slice:
    """The pixels of a cell away from its borders, along one axis of `length` pixels."""
    start = int((cell + 0.25) * length / GRID)
    return slice(start, max(start + 1, round((cell + 0.75) * length / GRID)))


def _check(number: int) -> int:
    return (number * 2654435761 >> 13) % 2**CHECK_BITS  # scatters: neighbours differ in many bits


def numbered_video(
    path: Path,
    frames: int = 30,
    size: tuple[int, int] = (96, 64),
    fps: int | Fraction = 25,
    codec: str = "libx264",
    options: Mapping[str, str] | None = None,
    *,
    pts: Sequence[int] | None = None,
    time_base: Fraction | None = None,
    pix_fmt: str = "yuv420p",
    format: str | None = None,
    muxer: Mapping[str, str] | None = None,
    rotation: int = 0,
    aspect: Fraction | None = None,
) -> Path:
    """An intact video whose frame i shows the number i.

    PyAV sees `frames` frames (0 in Matroska and raw streams). libx264 makes up to 3 B-frames in a row and a
    keyframe every 250 frames (options "bf" and "g"); mpeg4 none and every 12.

    Args:
        size: width and height as shown, that is after rotation and before `aspect`.
        options: of the encoder.
        pts: of each frame in units of `time_base` (default 1 / fps); default 0, 1, 2, ...
        format: of the file; default by the name.
        muxer: options of the container.
        rotation: degrees counter-clockwise to turn the decoded picture by, as `VideoFrame.rotation` gives it.
        aspect: width to height of a pixel.
    """
    with av.open(str(path), "w", format=format, container_options=dict(muxer or {})) as container:
        stream = container.add_stream(
            codec, rate=fps, options={**CODEC_OPTIONS.get(codec, {}), **(options or {})}
        )
        stream.width, stream.height = size if round(rotation / 90) % 2 == 0 else size[::-1]
        stream.pix_fmt = pix_fmt
        stream.codec_context.time_base = time_base or 1 / Fraction(fps)
        if aspect:
            stream.codec_context.sample_aspect_ratio = aspect
        if rotation:
            stream.set_display_rotation(rotation)
        for i in range(frames):
            picture = np.rot90(numbered_frame(i, size), k=-round(rotation / 90))
            frame = av.VideoFrame.from_ndarray(np.ascontiguousarray(picture), format="rgb24")
            frame.pts = pts[i] if pts else i
            frame.time_base = stream.codec_context.time_base
            container.mux(stream.encode(frame))
        container.mux(stream.encode())
    return path


def number_or_none(frame: NDArray[np.uint8]) -> int | None:
    """The number that a frame shows, or None where it is damaged."""
    try:
        return read_number(frame)
    except ValueError:
        return None


def decoded(path: Path) -> list[tuple[int | None, int | None]]:
    """The number (None: damaged) and the pts of each frame that PyAV decodes, up to the first error."""
    found = []
    with av.open(str(path)) as container:
        try:
            for frame in container.decode(video=0):
                found.append((number_or_none(frame.to_ndarray(format="rgb24")), frame.pts))
        except av.error.InvalidDataError:
            pass
    return found


def shown(path: Path) -> list[int | None]:
    """The number of each frame that PyAV decodes."""
    return [number for number, _ in decoded(path)]


def packets(path: Path) -> list[av.Packet]:
    """The packets of the video stream."""
    with av.open(str(path)) as container:
        return [packet for packet in container.demux(video=0) if packet.size]


def claimed(path: Path) -> int:
    """How many frames the file says it has."""
    with av.open(str(path)) as container:
        return container.streams.video[0].frames
