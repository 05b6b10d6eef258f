"""From a batch to clips: differences, colours and normalisation in float64, and angles from seed and step."""

import math
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from kinevec.config import Clip, Config, Fima, Method, Model, Terms, Train, Views
from kinevec.data.batch import Batch, Group
from kinevec.methods.method import Method as Whole
from kinevec.train.clips import example_clips, step_seed, to_clips
from kinevec.views.color import Color, color_uint8, draw_color
from method_steps import SMALL_FIMA, SMALL_MSCL
from reference import motion as differences
from reference import views as reference

N, T, SIZE = 2, 3, 24  # videos, frames, pixels: a blur of 3 pixels
CPU = torch.device("cpu")
VIEWS = Views(mean=(0.1, 0.2, 0.3), std=(0.5, 0.25, 2.0), jitter=1, blur=1)
CONFIG = Config(clip=Clip(frames=T, size=SIZE), views=VIEWS)
# In uint8, of 255: see test_color.py; blur rounds once more.
ROUNDING = 0.5 + (3 * 255 + 1) / 2048 + 0.5

Array = NDArray[np.float64]


def group(views: int, *, seed: int, colored: bool = True, blurred: bool = True) -> Group:
    rng = np.random.default_rng(seed)
    clips = torch.tensor(rng.integers(0, 256, (views, N, T, SIZE, SIZE, 3), dtype=np.uint8))
    made = Group(clips, torch.tensor(rng.random((views, N, 4)), dtype=torch.float32))
    if colored:
        colors = [[draw_color(VIEWS, rng) for _ in range(N)] for _ in range(views)]
        made.matrix = torch.tensor(np.array([[c.matrix for c in view] for view in colors], np.float32))
        sigma = torch.tensor([[c.sigma for c in view] for view in colors], dtype=torch.float32)
        made.sigma = sigma if blurred else None
    return made


def flow_group(views: int, *, seed: int) -> Group:
    rng = np.random.default_rng(seed)
    return Group(
        torch.tensor(rng.normal(size=(views, N, 2, T, SIZE, SIZE)), dtype=torch.float16),
        torch.tensor(rng.random((views, N, 4)), dtype=torch.float32),
    )


def batch(rgb: Group, difference: Group | None = None, **more: Any) -> Batch:
    return Batch(rgb, difference, more.get("flow"), more.get("local"), torch.arange(N), [])


def expected(group: Group, view: int, *, difference: bool) -> Array:
    """One clip of a group by definition: [difference,] colour, blur, normalise; (N, 3, T, H, W)."""
    clips = group.clips[view].double().numpy().transpose(0, 4, 1, 2, 3) / 255
    if difference:
        clips = differences.frame_difference(clips)
    if group.matrix is not None:
        for n in range(N):
            pixels = clips[n].transpose(1, 2, 3, 0)
            clips[n] = reference.affine(pixels, group.matrix[view, n].double().numpy()).transpose(3, 0, 1, 2)
            if group.sigma is not None:
                for c, t in np.ndindex(3, T):
                    clips[n, c, t] = reference.blurred(clips[n, c, t], float(group.sigma[view, n]), 3)
    mean, std = (np.array(values)[:, None, None, None] for values in (VIEWS.mean, VIEWS.std))
    return (clips - mean) / std


@pytest.mark.parametrize(("colored", "blurred"), [(False, False), (True, False), (True, True)])
def test_clips_are_differences_then_colours_then_normalised(colored: bool, blurred: bool) -> None:
    rgb = group(2, seed=0, colored=colored, blurred=blurred)
    difference = replace(group(2, seed=1, blurred=blurred), clips=rgb.clips)
    local = group(4, seed=2, blurred=blurred)
    got = to_clips(batch(rgb, difference, local=local), CONFIG, CPU, 0)
    pairs = [(clip, expected(rgb, i, difference=False)) for i, clip in enumerate(got.rgb)]
    pairs += [(clip, expected(difference, i, difference=True)) for i, clip in enumerate(got.difference)]
    flat = [clip for part in got.local for clip in part]
    pairs += [(flat[i], expected(local, i, difference=True)) for i in (1, 2)]  # the loops are slow
    assert ([len(part) for part in got.local], got.flow) == ([2, 2], ())
    for clip, want in pairs:
        assert clip.dtype == torch.float32
        assert clip.is_contiguous(memory_format=torch.channels_last_3d)
        np.testing.assert_allclose(clip.numpy(), want, atol=2e-5)
    assert all(torch.equal(a, b) for a, b in zip(got.boxes, rgb.boxes, strict=True))


def test_nothing_is_made_that_the_batch_does_not_hold() -> None:
    got = to_clips(batch(group(2, seed=0)), CONFIG, CPU, 0)
    assert (got.difference, got.flow, got.local) == ((), (), ())
    assert len(got.rgb) == len(got.boxes) == len(got.angles) == 2


def test_inputs_are_left_alone() -> None:
    rgb = group(2, seed=0)
    before = rgb.clips.clone()
    to_clips(batch(rgb, rgb), CONFIG, CPU, 0)
    assert torch.equal(rgb.clips, before)


def test_flow_becomes_float32_and_is_not_painted_yet() -> None:
    flow, local = flow_group(2, seed=3), flow_group(4, seed=4)
    config = replace(CONFIG, fima=Fima(motion="flow"))
    got = to_clips(batch(group(2, seed=0), flow=flow, local=local), config, CPU, 0)
    for clip, given in zip(
        [*got.flow, *got.local[0], *got.local[1]], [*flow.clips, *local.clips], strict=True
    ):
        assert clip.dtype == torch.float32
        assert torch.equal(clip, given.float())


def angles(step: int, seed: int = 0) -> list[list[float]]:
    config = replace(CONFIG, train=replace(CONFIG.train, seed=seed))
    return [angle.tolist() for angle in to_clips(batch(group(2, seed=0)), config, CPU, step).angles]


def test_angles_come_from_the_runs_seed_and_the_step_alone() -> None:
    drawn = {(seed, step): angles(step, seed) for seed in (0, 1) for step in range(20)}
    assert all(angles(step, seed) == value for (seed, step), value in drawn.items())
    assert len({str(value) for value in drawn.values()}) > 36  # of 8⁴ possible
    turns = np.array(list(drawn.values())) / (0.2 * math.pi)
    np.testing.assert_allclose(turns, np.round(turns), atol=1e-5)
    assert set(np.round(turns).ravel().astype(int)) == set(range(1, 9))
    assert not np.array_equal(turns[:, 0], turns[:, 1])  # the two clips turn differently


def test_drawing_angles_leaves_the_global_generator_alone() -> None:
    before = torch.get_rng_state()
    angles(3)
    assert torch.equal(torch.get_rng_state(), before)


def test_step_seeds_differ_and_fit() -> None:
    config = Config(train=Train(seed=2**63 - 1))
    seeds = {step_seed(c, step) for c in (CONFIG, config) for step in range(100)}
    assert len(seeds) == 200
    assert all(0 <= seed < 2**63 for seed in seeds)
    assert max(seeds) > 2**60


def test_the_device_colours_as_a_worker_does() -> None:
    plain = group(2, seed=5)
    assert plain.matrix is not None
    assert plain.sigma is not None
    matrix, sigma = plain.matrix, plain.sigma
    colored = torch.stack(
        [
            torch.stack(
                [
                    torch.tensor(
                        color_uint8(
                            plain.clips[view, n].numpy(),
                            Color(matrix[view, n].double().numpy(), float(sigma[view, n])),
                        )
                    )
                    for n in range(N)
                ]
            )
            for view in range(2)
        ]
    )
    device = to_clips(batch(plain), CONFIG, CPU, 0).rgb
    worker = to_clips(batch(Group(colored, plain.boxes)), CONFIG, CPU, 0).rgb
    std = torch.tensor(VIEWS.std)[:, None, None, None]
    for one, other in zip(device, worker, strict=True):
        assert float((255 * std * (one - other)).abs().max()) <= ROUNDING + 0.01


EXAMPLES = {
    "moco": (Terms(), Fima()),
    "mscl": (Terms(flow=1, cross=1, rotated=1, local=1), Fima()),
    "fima": (Terms(pixel=1, frame=1), SMALL_FIMA),
    "fima of flow": (Terms(pixel=1, frame=1), replace(SMALL_FIMA, motion="flow")),
    "both": (Terms(local=1, vanilla=1, pixel=1, frame=1), SMALL_FIMA),
}


@pytest.mark.parametrize(("terms", "fima"), EXAMPLES.values(), ids=EXAMPLES)
def test_example_clips_pass_as_real_ones_do(terms: Terms, fima: Fima) -> None:
    config = Config(
        clip=Clip(frames=8, size=32),
        model=Model("tiny"),
        terms=terms,
        method=Method(dim=8, hidden=16, queue=12, symmetric=terms.fima),
        mscl=SMALL_MSCL,
        fima=fima,
    )
    example = example_clips(config, 2, CPU)
    losses = Whole(config)(example)
    assert all(torch.isfinite(term) for term in losses.terms.values())
    assert [bool(len(getattr(example, kind))) for kind in ("difference", "flow", "local")] == [
        "difference" in config.motions,
        "flow" in config.motions,
        bool(terms.frame),
    ]
    for kind in ("rgb", "boxes", "angles"):
        assert len(getattr(example, kind)) == 2
