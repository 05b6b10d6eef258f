"""How a run computes: precision, convolutions that are right in it, and the optimiser."""

import logging

import torch

from kinevec import ranks
from kinevec.config import Config
from kinevec.errors import ConfigError
from kinevec.methods.method import Method
from kinevec.models.conv import Conv3d
from kinevec.models.guard import guard_bf16
from kinevec.runtime import Precision, pick_precision, seeded
from kinevec.train.clips import example_clips
from kinevec.train.parts import count_parts

log = logging.getLogger(__name__)


def agreed_precision(config: Config, device: torch.device) -> Precision:
    """The precision that the configuration comes to, which must be the same on all ranks.

    Raises:
        ConfigError: it is another one on another rank; they would wait for each other for ever.
    """
    chosen = ranks.collected(pick_precision(config.train.precision, device))
    if len(set(chosen)) > 1:
        raise ConfigError(
            f"train.precision={config.train.precision} came to {', '.join(chosen)} on the ranks' machines, which "
            "differ; set it to fp32 or bf16"
        )
    return chosen[0]


def guard(config: Config, model: Method, batch: int, device: torch.device) -> None:
    """Gives convolutions that are wrong in bf16 on this machine another route, see `guard_bf16`.

    Args:
        batch: videos per step, of all ranks together.
    """
    example = example_clips(config, min(4, batch // count_parts(config)), device)
    with seeded(config.train.seed, device):  # dropout must not draw from the caller's generator
        changed = guard_bf16(model, example.rgb[0], lambda _: model(example))
    if changed:
        convolutions = sum(isinstance(module, Conv3d) for module in model.modules())
        told = "precision bf16; %d of %d convolutions take another way, found to be right here"
        log.info(told, len(changed), convolutions)
    for name, route in changed.items():
        log.debug("%s: computed %s", name, route)


def learnt(model: Method) -> list[torch.nn.Parameter]:
    """The parameters that the optimiser moves."""
    return [p for p in model.parameters() if p.requires_grad]


def make_optimizer(config: Config, model: Method) -> torch.optim.Optimizer:
    """The optimiser of the configuration, of all that is learnt."""
    parameters, train = learnt(model), config.train
    if train.optimizer == "sgd":
        return torch.optim.SGD(
            parameters, lr=train.lr, momentum=0.9, weight_decay=train.weight_decay, fused=True
        )
    return torch.optim.AdamW(parameters, lr=train.lr, weight_decay=train.weight_decay, fused=True)
