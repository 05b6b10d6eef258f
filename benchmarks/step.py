"""Time of a training step of each method, side by side, and of FIMA written the obvious way.

    python benchmarks/step.py results/step.json [--repeats 7] [--encoders tiny r3d18]

All variants take turns within one run, so that what else the machine does falls on all of them. Written down
are the median seconds of a step, its spread, and its ratio to MoCo's; for memory, the peak of a process that
does nothing else. Clips are random and already on the device: loading has a benchmark of its own.
"""

import argparse
import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F
from turns import turns

from kinevec import config as configuration
from kinevec.config import Config
from kinevec.data.whole import write_text
from kinevec.methods.fima.foreground import foreground_mask
from kinevec.methods.fima.losses import frame_motion_loss, pixel_motion_loss
from kinevec.methods.infonce import info_nce
from kinevec.methods.method import Method
from kinevec.models.conv import channels_last
from kinevec.models.guard import guard_bf16
from kinevec.runtime import autocast, pick_device, pick_precision, provenance, seeded
from kinevec.train.clips import example_clips
from kinevec.views.pipeline import Clips

Step = Callable[[], None]

# Name → preset and changes. The encoder, batch and clip are those of the table's section.
VARIANTS = {
    "MoCo": ("moco", []),
    "MSCL": ("mscl", []),
    "MoCo symmetric": ("moco", ["method.symmetric=true"]),
    "FIMA": ("fima", []),
    "FIMA, plain": ("fima", []),
}
BASE = {"MSCL": "MoCo", "FIMA": "MoCo symmetric", "FIMA, plain": "FIMA"}
# Encoder → batch, and changes that make it the papers' size: their projectors, flow branch and decoder.
SECTIONS = {
    "tiny": (32, []),
    "r3d18": (
        8,
        [
            *("model.name=r3d18", "clip.frames=8", "clip.size=112", "method.dim=128", "method.hidden=512"),
            *("method.queue=16384", "mscl.blocks=2", "mscl.neck=pyramid", "fima.steps=1"),
            *("fima.width=512", "fima.feedforward=512"),
        ],
    ),
}


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("result", type=Path, nargs="?")
    parser.add_argument("--repeats", type=int, default=7)
    parser.add_argument(
        "--large", nargs="+", default=list(VARIANTS), help="variants with other encoders than tiny"
    )
    parser.add_argument("--encoders", nargs="+", default=list(SECTIONS))
    parser.add_argument(
        "--only", nargs=2, metavar=("ENCODER", "VARIANT"), help="print one variant's peak memory"
    )
    arguments = parser.parse_args()
    if arguments.only:
        encoder, name = arguments.only
        step = make_step(name, encoder)
        for _ in range(3):
            step()
        print(peak_megabytes())
        return
    result = {"kind": "step", "provenance": provenance(), "repeats": arguments.repeats, "encoders": {}}
    for encoder in arguments.encoders:
        names = list(VARIANTS) if encoder == "tiny" else arguments.large
        seconds = turns({name: make_step(name, encoder) for name in names}, arguments.repeats)
        rows = {}
        for name, values in seconds.items():
            base = seconds[BASE.get(name, "MoCo")]
            rows[name] = {
                "seconds": float(np.median(values)),
                "quartiles": [float(q) for q in np.quantile(values, (0.25, 0.75))],
                "compared_with": BASE.get(name, "MoCo"),
                "ratio": float(np.median(np.array(values) / np.array(base))),
                "peak_megabytes": memory(encoder, name),
            }
            print(f"{encoder:8} {name:16} {rows[name]}", flush=True)
        result["encoders"][encoder] = {"batch": SECTIONS[encoder][0], "rows": rows}
    if arguments.result:
        write_text(arguments.result, json.dumps(result, indent=1, ensure_ascii=False) + "\n")


def memory(encoder: str, name: str) -> float:
    """Peak megabytes of a process that does three steps of one variant."""
    call = [sys.executable, __file__, "--only", encoder, name]
    return float(subprocess.run(call, check=True, capture_output=True, text=True).stdout.split()[-1])


def peak_megabytes() -> float:
    """Of the device on a GPU, of the process on a CPU."""
    if torch.cuda.is_available():
        return torch.cuda.max_memory_allocated() / 1e6
    # Not getrusage, whose peak a process inherits from the one that started it.
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("VmHWM")) / 1e3


def make_step(name: str, encoder: str) -> Step:
    """A training step of a variant, ready to be called again and again."""
    preset, changes = VARIANTS[name]
    batch, section = SECTIONS[encoder]
    config = configuration.load(preset, [*section, *changes])
    device = pick_device("auto")
    with seeded(0):
        model = Method(config).to(device)
        clips = noisy(example_clips(config, batch, device))
    return (
        plain_fima_step(model, config, clips) if "plain" in name else our_step(model, config, clips, device)
    )


def noisy(clips: Clips) -> Clips:
    """Every clip filled with noise; boxes and angles stay."""

    def noise(group: list[Tensor]) -> list[Tensor]:
        return [torch.randn_like(clip) for clip in group]

    return Clips(
        noise(list(clips.rgb)),
        clips.boxes,
        clips.angles,
        noise(list(clips.difference)),
        noise(list(clips.flow)),
        [noise(list(local)) for local in clips.local],
    )


def our_step(model: Method, config: Config, clips: Clips, device: torch.device) -> Step:
    """The trainer's step."""
    channels_last(model)
    precision = pick_precision("auto", device)
    if precision == "bf16":
        guard_bf16(model, clips.rgb[0], lambda _: model(clips))
    parameters = [p for p in model.parameters() if p.requires_grad]
    optimizer = torch.optim.AdamW(parameters, lr=1e-4, fused=True)

    def step() -> None:
        with autocast(device, precision):
            losses = model(clips)
        optimizer.zero_grad(set_to_none=True)
        losses.total.backward()
        torch.nn.utils.clip_grad_norm_(parameters, 40.0)
        optimizer.step()
        model.advance(losses, 0, 1)

    return step


def plain_fima_step(model: Method, config: Config, clips: Clips) -> Step:
    """FIMA as one would write it down first: fp32, one clip after another, one tensor after another."""
    rgb, fima, settings = model.rgb, model.fima, config.fima
    assert fima is not None
    assert fima.decoder is not None
    assert fima.local_queue is not None
    optimizer = torch.optim.AdamW(
        [p for p in model.parameters() if p.requires_grad], lr=1e-4, foreach=False, fused=False
    )
    contiguous = [
        [clip.contiguous() for clip in group] for group in (clips.rgb, clips.difference, *clips.local)
    ]
    frames, differences, *local = contiguous

    def project(projector: nn.Module, features: Tensor) -> Tensor:  # (N, C, H, W)
        return projector(features.permute(0, 2, 3, 1)).permute(0, 3, 1, 2)

    def step() -> None:
        query = [rgb.encoder(clip) for clip in frames]
        q = [rgb.projector(x.mean((2, 3, 4))) for x in query]
        with torch.no_grad():
            key = [rgb.key_encoder(clip) for clip in frames]
            k = [rgb.key_projector(x.mean((2, 3, 4))) for x in key]
            motion = [rgb.key_encoder(clip) for clip in differences]
            pooled = [
                [rgb.key_projector(rgb.key_encoder(clip).mean((2, 3, 4))) for clip in clips_of]
                for clips_of in local
            ]
            masks = [foreground_mask(key[i], motion[i]) for i in range(2)]
        negatives, past = rgb.queue.keys, fima.local_queue.keys
        instance, pixel, frame = [], [], []
        for m, n in ((0, 1), (1, 0)):
            instance.append(info_nce(q[m], k[n], negatives, config.method.temperature))
            steps = range(query[m].shape[2])
            for t in steps:
                token, cells = fima.decoder(query[m][:, :, t], query[n][:, :, t])
                with torch.no_grad():
                    dense = [project(rgb.key_projector, motion[n][:, :, s]) for s in steps]
                others = [dense[s] for s in steps if s != t]
                pixel.append(
                    pixel_motion_loss(
                        project(rgb.projector, cells),
                        dense[t],
                        torch.stack(others, 2) if others else None,
                        clips.boxes[m],
                        clips.boxes[n],
                        masks[m],
                        masks[n],
                        temperature=settings.temperature,
                        positive_radius=settings.positive_radius,
                    )
                )
                rest = [pooled[n][s] for s in steps if s != t]
                frame.append(
                    frame_motion_loss(
                        F.normalize(rgb.projector(token), dim=1),
                        pooled[n][t],
                        rest,
                        pooled[m],
                        temperature=settings.temperature,
                        queue=past,
                    )
                )
        loss = sum(sum(terms) / len(terms) for terms in (instance, pixel, frame))
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        with torch.no_grad():
            for mine, theirs in (
                (rgb.key_encoder, rgb.encoder),
                (rgb.key_projector, rgb.projector),
            ):
                for old, new in zip(mine.parameters(), theirs.parameters(), strict=True):
                    old.data = old.data * config.method.momentum + new.data * (1 - config.method.momentum)
            rgb.queue.push(torch.cat(k))
            fima.local_queue.push(torch.cat([x for group in pooled for x in group]))

    return step


if __name__ == "__main__":
    main()
