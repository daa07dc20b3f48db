"""Runs by their name on the Hugging Face hub: this machine's copy of one, or one fetched now.

In: what a user gave for a run. Out: a folder. A path is never asked for on the hub.
"""

from __future__ import annotations

import re
from pathlib import Path

from ..errors import UserError
from ..snapshots import NotFetched, snapshot

FILES = ("*.json", "*.yaml", "*.safetensors", "*.model", "README.md")
_NAME = re.compile(r"\w[\w.-]*/\w[\w.-]*")


def is_name(run: Path | str) -> bool:
    """Whether `run` can only be a name on the hub: `owner/name`, and no folder `owner` is here."""
    return bool(_NAME.fullmatch(str(run))) and not Path(run).parent.is_dir()


def run_folder(run: Path | str, revision: str | None = None) -> Path:
    """The folder of a run: `run` itself, or the hub's copy of `owner/name` at `revision` (a branch, tag or commit).

    A copy on this machine is taken as it is. Raises UserError where there is none and none can be fetched.
    """
    if not is_name(run):
        return Path(run)
    from huggingface_hub.errors import HFValidationError

    name = str(run)
    try:
        return snapshot(name, revision, FILES, lambda folder: (folder / "config.json").is_file())
    except HFValidationError as error:  # the hub's rules for names are narrower than `is_name`
        raise UserError("there is no such run folder, and the hub has no such names", name, "Check the path.") from error
    except NotFetched as error:
        at = f" at revision '{revision}'" if revision else ""
        raise UserError(
            f"there is no such run folder, and no run of that name{at} could be fetched from the hub ({error})",
            name,
            "Give a folder that train wrote, or fetch the run where the hub can be reached.",
        ) from error
