"""Models of the Hugging Face hub, through huggingface_hub, which is optional."""

from pathlib import Path

from kinevec.encoders.layout import CONFIG, ID, WEIGHTS
from kinevec.errors import InputError


def download(name: str) -> Path:
    """The folder of a model of the hub, fetched where it is not kept yet: its weights and configuration alone.

    Raises:
        InputError: it is not there, the hub cannot be reached, or huggingface_hub is not installed.
    """
    found = ID.fullmatch(name)
    if found is None:
        raise InputError(f"{name}: no name of the hub; write org/name or org/name@revision")
    try:
        import huggingface_hub
        from huggingface_hub.errors import HfHubHTTPError, HFValidationError
    except ImportError as error:
        raise InputError(
            f"{name}: no such run, folder or file here; to look for it on the Hugging Face hub, "
            "pip install 'kinevec[hub]'"
        ) from error
    try:
        folder = huggingface_hub.snapshot_download(
            found[1], revision=found[2], allow_patterns=[CONFIG, WEIGHTS]
        )
    except (HfHubHTTPError, HFValidationError, OSError, ValueError) as error:
        why = str(error).strip().partition("\n")[0] or type(error).__name__
        raise InputError(
            f"{name}: no such run, folder or file here, and not to be had from the Hugging Face hub: {why}"
        ) from error
    return Path(folder)
