"""An encoder is the same from whatever place it comes, and a place that is wrong is said."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import safetensors
import safetensors.torch
import torch

from kinevec import encoders
from kinevec.config import Clip, Config, Model, Train, Views
from kinevec.encoders import Loaded
from kinevec.encoders.folder import digest
from kinevec.encoders.layout import CONFIG, WEIGHTS
from kinevec.errors import CheckpointError, ConfigError, InputError
from kinevec.exchange.export import export
from kinevec.models import build_encoder
from kinevec.runtime import seeded
from kinevec.train.checkpoint import ENCODER, save_encoder, untrained_encoder

CONFIG_OF_RUN = Config(
    clip=Clip(frames=4, stride=3, size=32),
    views=Views(mean=(0.1, 1 / 3, 0.2), std=(0.3, 0.7, 0.25), area=(0.3, 0.9)),
    model=Model("tiny"),
    train=Train(seed=3, precision="fp32"),
)


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("run")
    with seeded(5):
        save_encoder(folder, build_encoder("tiny"), CONFIG_OF_RUN, step=17)
    facts = {"videos": 12, "looped": 1, "rejected": 2, "command": ["/secret/place"], "machine": "mine"}
    (folder / "run.json").write_text(json.dumps(facts))
    return folder


@pytest.fixture
def exported(run: Path, tmp_path: Path) -> Path:
    return export(encoders.load(run), tmp_path / "model")


def test_run_export_and_files_give_the_same_encoder(run: Path, exported: Path, tmp_path: Path) -> None:
    first = encoders.load(run)
    again = export(encoders.load(exported), tmp_path / "again")
    for place in (run / ENCODER, str(run), exported, exported / WEIGHTS, again):
        loaded = encoders.load(place)
        assert loaded.identity == first.identity
        assert (loaded.step, loaded.source) == (17, str(place))
        assert loaded.facts == {"videos": 12, "looped": 1, "rejected": 2}
        assert loaded.config == CONFIG_OF_RUN
        for name, value in first.encoder.state_dict().items():
            assert torch.equal(value, loaded.encoder.state_dict()[name])


def test_the_identity_tells_apart_what_gives_other_features(run: Path) -> None:
    loaded = encoders.load(run)
    config = loaded.config
    others = [
        replace(config, clip=replace(config.clip, frames=5)),
        replace(config, clip=replace(config.clip, stride=2)),
        replace(config, clip=replace(config.clip, size=48)),
        replace(config, views=replace(config.views, mean=(0.1, 0.3, 0.2))),
        replace(config, views=replace(config.views, std=(0.3, 0.7, 0.2))),
    ]
    ids = {Loaded(loaded.encoder, other, "", None).identity for other in others}
    same = Loaded(loaded.encoder, replace(config, train=Train(seed=9)), "elsewhere", 5).identity
    assert same == loaded.identity
    changed = encoders.load(run)
    with torch.no_grad():
        next(iter(changed.encoder.parameters())).view(-1)[0] += 1e-6
    assert len(ids | {loaded.identity, changed.identity}) == 7


def test_it_prints_shapes_and_counts(run: Path) -> None:
    text = repr(encoders.load(run))
    assert text.startswith(
        "Loaded(tiny: 4 frames of 32×32 at stride 3 → 128 numbers; 0.9 M parameters, 17 training"
    )
    assert "Conv" not in text


def test_loading_leaves_the_global_generator_alone(run: Path, exported: Path) -> None:
    before = torch.get_rng_state()
    for place in (run, exported, "untrained:tiny"):
        encoders.load(place)
    assert torch.equal(before, torch.get_rng_state())


def test_encoders_come_in_evaluation_mode(run: Path) -> None:
    """Else a call would normalise by its batch, and change what the encoder says of all later ones."""
    for loaded in (
        encoders.load(run),
        encoders.load("untrained:tiny"),
        *encoders.load_beside(["untrained:tiny", run]),
    ):
        before = loaded.identity
        with torch.no_grad():
            one = loaded.encoder(torch.zeros(1, 3, 4, 32, 32))
            both = loaded.encoder(torch.cat([torch.zeros(1, 3, 4, 32, 32), torch.ones(1, 3, 4, 32, 32)]))
        assert torch.allclose(one, both[:1], atol=1e-5)
        del loaded.__dict__["identity"]  # found once
        assert loaded.identity == before


def test_untrained_encoders_by_name() -> None:
    loaded = encoders.load("untrained:i3d")
    assert (loaded.config.model.name, loaded.step) == ("i3d", 0)
    with seeded(0):
        expected = build_encoder("i3d").state_dict()
    assert all(torch.equal(value, expected[name]) for name, value in loaded.encoder.state_dict().items())
    with pytest.raises(ConfigError, match="did you mean 'tiny'"):
        encoders.load("untrained:tinny")


def test_the_counts_of_a_run_may_be_missing(run: Path, tmp_path: Path) -> None:
    (tmp_path / ENCODER).write_bytes((run / ENCODER).read_bytes())
    assert encoders.load(tmp_path).facts == {}
    (tmp_path / "run.json").write_text('["no"')
    assert encoders.load(tmp_path).facts == {}
    (tmp_path / "run.json").write_text('{"videos": "/home/me", "looped": 2}')
    assert encoders.load(tmp_path).facts == {"looped": 2}


def test_places_where_nothing_is(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no such run, folder or file"):
        encoders.load(tmp_path / "missing")
    with pytest.raises(InputError, match="is it the folder of a run"):
        encoders.load(tmp_path)
    (tmp_path / ENCODER).write_bytes(b"nonsense")
    with pytest.raises(CheckpointError, match=r"encoder.safetensors: is text, beginning with 'nonsense'"):
        encoders.load(tmp_path)


def change(folder: Path, **entries: Any) -> None:
    content = json.loads((folder / CONFIG).read_text())
    (folder / CONFIG).write_text(json.dumps({**content, **entries}))


@pytest.mark.parametrize(
    ("entries", "words"),
    [
        ({"version": 2}, "format 2, from a newer kinevec; this one reads up to 1"),
        ({"version": "1"}, "'version' is '1'"),
        ({"format": "other"}, "not of kinevec"),
        ({"encoder": "r4d"}, "unknown encoder 'r4d'"),
        ({"encoder": "r3d18"}, "do not fit the encoder 'r3d18'"),
        ({"clip": {"frames": 4, "strides": 2}}, "unknown key 'clip.strides'; did you mean 'stride'"),
        ({"clip": {"frames": 1}}, "clip.frames is 1"),
        ({"normalisation": {"mean": [0, 0, 0], "std": [1, 1, 0]}}, "every entry must be positive"),
        ({"clip": None}, "section"),
        ({"training": 3}, "damaged"),
        ({"training": {"novel": {}}}, "unknown key 'novel'"),
        ({"step": "many"}, "'step' is 'many'"),
        ({"sha256": "0" * 64}, "not the weights that config.json was written for"),
    ],
)
def test_a_configuration_that_cannot_be_used(entries: dict[str, Any], words: str, exported: Path) -> None:
    change(exported, **entries)
    with pytest.raises((CheckpointError, ConfigError)) as error:
        encoders.load(exported)
    assert words in str(error.value)
    assert str(exported) in str(error.value)


def test_a_configuration_that_is_no_json_or_lacks_an_entry(exported: Path) -> None:
    content = json.loads((exported / CONFIG).read_text())
    for name in ("encoder", "clip", "normalisation", "step", "facts", "training"):
        (exported / CONFIG).write_text(json.dumps({k: v for k, v in content.items() if k != name}))
        with pytest.raises(CheckpointError, match=f"'{name}'"):
            encoders.load(exported)
    for text in ("{", "[]", "null"):
        (exported / CONFIG).write_text(text)
        with pytest.raises(CheckpointError, match=CONFIG):
            encoders.load(exported)


def test_clips_can_be_changed_by_hand(exported: Path) -> None:
    before = encoders.load(exported)
    change(exported, clip={"frames": 4, "stride": 1, "size": 32})
    after = encoders.load(exported)
    assert after.config.clip.stride == 1
    assert after.identity != before.identity


def test_weights_that_are_missing_cut_off_or_changed(exported: Path) -> None:
    path = exported / WEIGHTS
    whole = path.read_bytes()
    path.write_bytes(whole[:-5] + bytes([whole[-5] ^ 1]) + whole[-4:])
    with pytest.raises(CheckpointError, match=r"model.safetensors: damaged, or not the weights"):
        encoders.load(exported)
    path.write_bytes(whole[: len(whole) // 2])
    change(exported, sha256=digest(path))
    with pytest.raises(CheckpointError, match="damaged or cut off"):
        encoders.load(exported)
    path.unlink()
    with pytest.raises(InputError, match=r"config.json is there, but no model.safetensors"):
        encoders.load(exported)


def test_a_changed_byte_in_the_weights_of_a_run_is_noticed(run: Path, tmp_path: Path) -> None:
    content = bytearray((run / ENCODER).read_bytes())
    content[-3] ^= 1
    (tmp_path / ENCODER).write_bytes(content)
    with pytest.raises(CheckpointError, match="damaged: its weights are not those that were written"):
        encoders.load(tmp_path)


def test_weights_of_a_version_without_a_digest_are_read(run: Path, tmp_path: Path) -> None:
    with safetensors.safe_open(run / ENCODER, "pt") as file:
        header = file.metadata()
        weights = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 (not a dict)
    del header["digest"]
    safetensors.torch.save_file(weights, tmp_path / ENCODER, header)
    assert encoders.load(tmp_path).identity == encoders.load(run).identity


def test_beside_a_run_an_untrained_encoder_sees_its_clips_and_is_what_it_began_with(
    run: Path, tmp_path: Path
) -> None:
    untrained, trained, other = encoders.load_beside(["untrained:tiny", run, "untrained:r3d18"])
    assert trained.identity == encoders.load(run).identity
    assert untrained.config == trained.config
    began = untrained_encoder(trained.config).state_dict()
    assert all(torch.equal(value, began[key]) for key, value in untrained.encoder.state_dict().items())
    assert (untrained.step, untrained.source) == (0, "untrained:tiny")
    assert (other.config.model.name, other.config.clip) == ("r3d18", trained.config.clip)
    twin = untrained_encoder(replace(CONFIG_OF_RUN, model=Model("r3d18"), clip=Clip(frames=8)))
    save_encoder(tmp_path, twin, replace(CONFIG_OF_RUN, model=Model("r3d18"), clip=Clip(frames=8)), 1)
    *_, of_its_own = encoders.load_beside([run, tmp_path, "untrained:r3d18"])
    assert of_its_own.config.clip == Clip(frames=8)  # the first of that name, not the first
    alone = encoders.load_beside(["untrained:tiny", "untrained:tiny"])
    assert [one.config for one in alone] == [Config()] * 2


@pytest.mark.parametrize("entry", ["weight", "running_var"])
@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_weights_that_are_not_finite_are_refused(run: Path, tmp_path: Path, entry: str, value: float) -> None:
    encoder = encoders.load(run).encoder
    key = next(key for key in encoder.state_dict() if key.endswith(entry))
    encoder.state_dict()[key].flatten()[:2] = value
    save_encoder(tmp_path, encoder, CONFIG_OF_RUN, step=17)
    with pytest.raises(
        CheckpointError, match=f"damaged: 2 of its [0-9,]+ weights are not finite .* first in {key}"
    ):
        encoders.load(tmp_path)
