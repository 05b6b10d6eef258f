"""Sections must agree with each other; what a run needs, and in what two runs differ, follows from them."""

from typing import Any

import pytest

from kinevec.config import Clip, Config, Fima, Method, Mscl, Sampling, Terms, Train, Views, differences
from kinevec.errors import ConfigError

DIFFERENCE = Mscl(motion="difference", rotated_steps=False)


def test_frame_differences_cannot_be_rotated() -> None:
    with pytest.raises(ConfigError) as caught:
        Config(terms=Terms(flow=1, rotated=1), mscl=DIFFERENCE)
    assert str(caught.value) == (
        "terms.rotated is set, but frame differences cannot be rotated: set it to 0, or mscl.motion=flow"
    )
    with pytest.raises(ConfigError) as caught:
        Config(terms=Terms(local=1), mscl=Mscl(motion="difference"))
    assert str(caught.value) == (
        "mscl.rotated_steps is set, but frame differences cannot be rotated: "
        "set it to false, or mscl.motion=flow"
    )
    assert Config(terms=Terms(flow=1, local=1), mscl=DIFFERENCE).motions == {"difference"}
    # Settings of terms that are left out say nothing.
    assert Config(terms=Terms(flow=1), mscl=Mscl(motion="difference")).terms.flow == 1
    assert Config(mscl=Mscl(motion="difference")).motions == set()


@pytest.mark.parametrize("term", ["vanilla", "pixel", "frame"])
def test_fima_is_symmetric(term: str) -> None:
    terms = Terms(**{term: 1.0})
    with pytest.raises(ConfigError, match=r"set method\.symmetric=true"):
        Config(terms=terms)
    assert Config(terms=terms, method=Method(symmetric=True)).motions == {"difference"}


def test_the_frame_term_needs_the_decoder() -> None:
    method, without = Method(symmetric=True), Fima(decoder=False)
    with pytest.raises(ConfigError, match=r"set fima\.decoder=true"):
        Config(terms=Terms(frame=1), method=method, fima=without)
    assert Config(terms=Terms(pixel=1, vanilla=1), method=method, fima=without).terms.pixel == 1


def test_local_clips_of_differences_repeat_no_frame() -> None:
    whole: dict[str, Any] = {"clip": Clip(frames=16, stride=2), "method": Method(symmetric=True)}
    with pytest.raises(ConfigError) as caught:
        Config(**whole, terms=Terms(frame=1), fima=Fima(steps=3))
    assert str(caught.value) == (
        "local clips of 16 frames do not fit into one of fima.steps = 3 parts of a window of 32 frames "
        "without repeating some, whose difference would be nothing: raise clip.stride"
    )
    assert Config(**whole, terms=Terms(frame=1), fima=Fima(steps=2)).fima.steps == 2
    assert Config(**whole, terms=Terms(frame=1), fima=Fima(steps=3, motion="flow")).fima.steps == 3
    assert Config(**whole, terms=Terms(pixel=1), fima=Fima(steps=3)).fima.steps == 3  # no local clips


def test_motions_are_what_the_terms_need() -> None:
    symmetric = Method(symmetric=True)
    both = Terms(local=1, pixel=1)
    assert Config().motions == set()
    assert Config(terms=both, method=symmetric).motions == {"flow", "difference"}
    assert Config(terms=both, method=symmetric, fima=Fima(motion="flow")).motions == {"flow"}
    assert Config(terms=both, method=symmetric, mscl=DIFFERENCE).motions == {"difference"}
    for term, branch in [("flow", "mscl"), ("cross", "mscl"), ("local", "mscl"), ("vanilla", "fima")]:
        terms = Terms(**{term: 0.1})
        assert (terms.mscl, terms.fima) == (branch == "mscl", branch == "fima")


def test_sections_that_nothing_reads() -> None:
    symmetric = Method(symmetric=True)
    assert Config().unread == {"mscl", "fima", "flow"}
    assert Config(sampling=Sampling(moving=True)).unread == {"mscl", "fima"}
    assert Config(terms=Terms(local=1)).unread == {"fima"}
    assert Config(terms=Terms(flow=1), mscl=DIFFERENCE).unread == {"fima", "flow"}
    assert Config(terms=Terms(pixel=1), method=symmetric).unread == {"mscl", "flow"}
    assert Config(terms=Terms(pixel=1), method=symmetric, fima=Fima(motion="flow")).unread == {"mscl"}


def test_differences_list_every_value_that_differs() -> None:
    old = Config()
    assert differences(old, Config()) == []
    new = Config(train=Train(lr=0.05, epochs=7), views=Views(area=(0.5, 1.0)))
    assert differences(old, new) == [
        "views.area: (0.2, 1.0) → (0.5, 1.0)",
        "train.epochs: 200 → 7",
        "train.lr: 0.02 → 0.05",
    ]
