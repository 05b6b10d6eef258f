"""The motion report card."""

from pathlib import Path

from kinevec import encoders
from kinevec.data.whole import make_folder
from kinevec.errors import LateError, OutputError
from kinevec.evaluate.audit import Audit, AuditConfig, open_masks
from kinevec.evaluate.audit import audit as score
from kinevec.evaluate.audit.masks import LEVEL, masks_of
from kinevec.show.audit_page import write_audit
from kinevec.tasks.stopping import stoppable
from kinevec.tasks.videos import open_collection
from kinevec.tasks.watcher import Silent, Watcher, check_writable, counter

JSON, PAGE = "audit.json", "audit.html"


@stoppable(f"nothing was written; an earlier {JSON} and {PAGE} are as they were")
def audit(
    run: str | Path,
    data: str | Path,
    *,
    masks: str | Path | None = None,
    mask_level: int = LEVEL,
    out: str | Path | None = None,
    settings: AuditConfig | None = None,
    device: str = "auto",
    watcher: Watcher | None = None,
) -> Audit:
    """Says what an encoder's score on labelled videos rests on, and writes `audit.json` and `audit.html`.

    Args:
        run: the run's folder, or another place that `kinevec.encoders.load` knows.
        data: as for `pretrain`; where the data name no split, the same videos are held out as there.
        masks: folder that says where the foreground is, see `kinevec.evaluate.audit.masks`. None: drawn again
            where `data` was made by `kinevec synth`, else estimated from the frames.
        mask_level: grey level of a mask file above which a pixel is foreground.
        out: folder to write to; None: the run's.
        settings: see there.
        device: where to compute.

    Raises:
        OutputError: the results cannot be written, or `run` is no folder and `out` is not given.
        InputError: `run` or `masks` is not there.
        DataError: the videos cannot be scored.
        Interrupted: by Ctrl-C or SIGTERM.
        LateError: the disk was full when all was done; carries the audit.
    """
    watcher = watcher or Silent()
    loaded = encoders.load(run)
    folder = Path(out) if out else Path(run)
    if not out and not folder.is_dir():
        raise OutputError(f"{run} is not the folder of a run; name a folder to write the audit to with --out")
    for name in (JSON, PAGE):
        check_writable(folder / name)
    where = open_masks(Path(masks), mask_level) if masks is not None else masks_of(Path(data))
    collection = open_collection(data, loaded.config, watcher)
    result = score(
        loaded, collection, settings, masks=where, device=device, progress=counter(watcher, "auditing")
    )
    try:
        make_folder(folder)
        result.write(folder / JSON)
        write_audit(folder / PAGE, result)
    except OutputError as error:
        raise LateError(str(error), result) from error
    return result
