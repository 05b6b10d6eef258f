"""Oracles for the motion room, in float64, written from the equations with loops over pixels or taps.

Axes: flow (T, H, W, 2), images (T, H, W, 3), clips (N, 3, T, H, W).
"""

import math

import numpy as np
from numpy.typing import NDArray

Float = NDArray[np.float64]


def frame_difference(clip: Float) -> Float:
    out = np.full(clip.shape, 0.5)
    for n, c, t, y, x in np.ndindex(*clip.shape):
        if t > 0:
            out[n, c, t, y, x] = 0.5 * (1 + clip[n, c, t, y, x] - clip[n, c, t - 1, y, x])
    return out


def color_wheel() -> list[tuple[float, float, float]]:
    """The 55 Middlebury colours, 0 to 255: six ramps between the primary and secondary colours."""
    ramp = {n: [math.floor(255 * i / n) for i in range(n)] for n in (15, 6, 4, 11, 13)}
    red_yellow = [(255, up, 0) for up in ramp[15]]
    yellow_green = [(255 - up, 255, 0) for up in ramp[6]]
    green_cyan = [(0, 255, up) for up in ramp[4]]
    cyan_blue = [(0, 255 - up, 255) for up in ramp[11]]
    blue_magenta = [(up, 0, 255) for up in ramp[13]]
    magenta_red = [(255, 0, 255 - up) for up in ramp[6]]
    return red_yellow + yellow_green + green_cyan + cyan_blue + blue_magenta + magenta_red


def flow_image(flow: Float, *, quantised: bool = False) -> Float:
    """Colours in 0 to 255; quantised rounds down to whole numbers, as MSCL's released code does."""
    wheel = color_wheel()
    image = np.empty((*flow.shape[:3], 3))
    for t in range(len(flow)):
        fastest = max(math.hypot(u, v) for u, v in flow[t].reshape(-1, 2))
        for y, x in np.ndindex(*flow.shape[1:3]):
            u, v = flow[t, y, x] / (fastest + 1e-5)
            radius = math.hypot(u, v)
            position = (math.atan2(-v, -u) / math.pi + 1) / 2 * 54
            left = min(int(position), 53)
            for c in range(3):
                hue = np.interp(position, [left, left + 1], [wheel[left][c] / 255, wheel[left + 1][c] / 255])
                image[t, y, x, c] = 255 * (1 - radius * (1 - hue))
    return np.floor(image) if quantised else image


def motion_energy(flow: Float) -> Float:
    """Per pixel: (T, H, W)."""
    sobel_x = [(dy, dx, dx * (2 - abs(dy))) for dy in (-1, 0, 1) for dx in (-1, 1)]
    sobel_y = [(dx, dy, weight) for dy, dx, weight in sobel_x]
    _, height, width, _ = flow.shape
    rows, columns = np.arange(height), np.arange(width)
    total = np.zeros(flow.shape[:3])
    for component in range(2):
        for taps in (sobel_x, sobel_y):
            gradient = np.zeros(flow.shape[:3])
            for dy, dx, weight in taps:
                # Reflected about the border: what lies one pixel outside is the outermost pixel.
                y, x = np.clip(rows + dy, 0, height - 1), np.clip(columns + dx, 0, width - 1)
                gradient += weight * flow[:, y][:, :, x][..., component]
            total += gradient**2
    return np.sqrt(total)


def attention_map(energy: Float) -> Float:
    """Block averages of one frame's energy (H, W), upsampled bilinearly, divided by their maximum."""
    height, width = energy.shape
    rows, columns = max(1, round(height / 28)), max(1, round(width / 28))
    coarse = np.empty((rows, columns))
    for i, j in np.ndindex(rows, columns):
        top, bottom = i * height // rows, -(-(i + 1) * height // rows)
        left, right = j * width // columns, -(-(j + 1) * width // columns)
        coarse[i, j] = energy[top:bottom, left:right].mean()
    # The centre of pixel y lies at (y + ½)/H of the frame; that of block i at (i + ½)/rows.
    y = (np.arange(height) + 0.5) / height * rows - 0.5
    x = (np.arange(width) + 0.5) / width * columns - 0.5
    along_x = np.stack([np.interp(x, np.arange(columns), row) for row in coarse])
    fine = np.stack([np.interp(y, np.arange(rows), column) for column in along_x.T], axis=1)
    return fine / fine.max() if fine.max() > 0 else fine


def color_differential(flow: Float, *, quantised: bool = False) -> Float:
    attention = np.stack([attention_map(e) for e in motion_energy(flow)])
    r = attention[..., None] * flow_image(flow, quantised=quantised)
    scores = np.zeros(len(flow))
    for t in range(len(flow) - 1):
        scores[t] = np.mean(
            [math.dist(a, b) for a, b in zip(r[t].reshape(-1, 3), r[t + 1].reshape(-1, 3), strict=True)]
        )
    return scores
