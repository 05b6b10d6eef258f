"""Models of the Hugging Face hub, by a stand-in for its library."""

import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from kinevec import encoders
from kinevec.encoders.layout import is_id
from kinevec.errors import InputError
from kinevec.exchange.export import export


@pytest.fixture
def model(tmp_path: Path) -> Path:
    return export(encoders.load("untrained:tiny"), tmp_path / "model")


@pytest.fixture
def asked(model: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> list[dict[str, Any]]:
    """What the hub was asked for; it has `org/name` only."""
    import huggingface_hub
    from huggingface_hub.errors import LocalEntryNotFoundError

    calls: list[dict[str, Any]] = []

    def snapshot_download(repo_id: str, **settings: Any) -> str:
        calls.append({"repo_id": repo_id, **settings})
        if repo_id != "org/name":
            raise LocalEntryNotFoundError("cannot reach the hub\nand more")
        return str(model)

    monkeypatch.setattr(huggingface_hub, "snapshot_download", snapshot_download)
    monkeypatch.chdir(tmp_path)
    return calls


def test_a_model_of_the_hub_is_loaded_from_weights_and_configuration_alone(
    asked: list[dict[str, Any]],
) -> None:
    local = encoders.load("untrained:tiny")
    for place, revision in (("org/name", None), ("hub:org/name", None), ("org/name@v1.2", "v1.2")):
        loaded = encoders.load(place)
        assert loaded.identity == local.identity
        assert loaded.source == place
        assert asked.pop() == {
            "repo_id": "org/name",
            "revision": revision,
            "allow_patterns": ["config.json", "model.safetensors"],
        }


def test_a_path_here_goes_first_and_a_typing_error_is_not_sent(
    asked: list[dict[str, Any]], tmp_path: Path, model: Path
) -> None:
    (tmp_path / "org").mkdir()
    model.rename(tmp_path / "org" / "name")
    assert encoders.load("org/name").step == 0
    with pytest.raises(InputError, match=r"org/nam: no such run, folder or file$"):
        encoders.load("org/nam")
    assert asked == []
    with pytest.raises(InputError, match=r"not to be had from the Hugging Face hub: cannot reach the hub$"):
        encoders.load("hub:org/nam")
    assert len(asked) == 1


def test_what_the_hub_does_not_have(asked: list[dict[str, Any]]) -> None:
    with pytest.raises(InputError, match=r"other/name: no such run, folder or file here, and not to be had"):
        encoders.load("other/name")


@pytest.mark.parametrize(
    "name",
    [
        "/org/name",
        "./name",
        "../name",
        "org",
        "a/b/c",
        "~/name",
        "org/",
        "org/../x",
        "C:\\a",
        "org/na me",
        "-a/b",
    ],
)
def test_names_that_cannot_be_on_the_hub(name: str, asked: list[dict[str, Any]]) -> None:
    assert not is_id(name)
    with pytest.raises(InputError):
        encoders.load(name)
    with pytest.raises(InputError, match="no name of the hub"):
        encoders.load(f"hub:{name}")
    assert asked == []


def test_without_its_library_the_install_line_is_said(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setitem(sys.modules, "huggingface_hub", None)  # type: ignore[arg-type]
    with pytest.raises(InputError, match=r"org/name: no such run.*pip install 'kinevec\[hub\]'"):
        encoders.load("org/name")


def test_a_model_of_somebody_else_is_refused(
    model: Path, asked: list[dict[str, Any]], monkeypatch: pytest.MonkeyPatch
) -> None:
    (model / "config.json").write_text('{"model_type": "bert"}')
    with pytest.raises(Exception, match="not of kinevec"):
        encoders.load("org/name")


def test_the_stand_in_is_like_the_library() -> None:
    import inspect

    import huggingface_hub

    assert isinstance(huggingface_hub, ModuleType)
    assert {"repo_id", "revision", "allow_patterns"} <= set(
        inspect.signature(huggingface_hub.snapshot_download).parameters
    )
