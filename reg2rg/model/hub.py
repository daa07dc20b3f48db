"""Runs by their name on the Hugging Face hub: this machine's copy of one, or one fetched now.

In: what a user gave for a run. Out: a folder. A path is never asked for on the hub.
"""

from __future__ import annotations

import re
from pathlib import Path

from ..errors import UserError

FILES = ["*.json", "*.yaml", "*.safetensors", "*.model", "README.md"]
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
    from huggingface_hub import HfApi, snapshot_download
    from huggingface_hub.errors import HfHubHTTPError, LocalEntryNotFoundError

    name = str(run)
    try:
        folder = Path(snapshot_download(name, revision=revision, local_files_only=True, allow_patterns=FILES))
        if (folder / "config.json").is_file():
            return folder
    except LocalEntryNotFoundError:
        pass
    try:
        HfApi().model_info(name, revision=revision, timeout=10)  # one quick question; a download would retry for minutes
        return Path(snapshot_download(name, revision=revision, allow_patterns=FILES))
    except (HfHubHTTPError, OSError, RuntimeError) as error:
        raise _absent(name, revision, error) from error
    except Exception as error:  # the HTTP client's own errors have no common public base
        if type(error).__module__.partition(".")[0].startswith("http"):
            raise _absent(name, revision, error) from error
        raise


def _absent(name: str, revision: str | None, error: Exception) -> UserError:
    reason = (str(error).strip().splitlines() or [type(error).__name__])[0].rstrip(".")[:200]
    at = f" at revision '{revision}'" if revision else ""
    return UserError(
        f"there is no such run folder, and no run of that name{at} could be fetched from the hub ({reason})",
        name,
        "Give a folder that train wrote, or fetch the run where the hub can be reached.",
    )
