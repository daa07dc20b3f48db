"""Folders of the Hugging Face hub by their names: this machine's copy of one, or one fetched now.

In: `owner/name`, a revision, and which files are wanted. Out: a folder. What a missing one means to the user, the caller says.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path


class NotFetched(Exception):
    """Neither on this machine nor to be had from the hub; the text is the reason, a part of a sentence."""


def snapshot(name: str, revision: str | None, wanted: Sequence[str], whole: Callable[[Path], bool]) -> Path:
    """The folder of `name` at `revision` (a branch, tag or commit; the newest for None) with the files that `wanted` match.

    A copy on this machine is taken as it is where `whole` says that what is needed lies in it. Raises NotFetched where there is
    none and none can be fetched (a machine without network is told so at once), and huggingface_hub's HFValidationError for
    what can't be a name.
    """
    from huggingface_hub import HfApi, snapshot_download
    from huggingface_hub.errors import HfHubHTTPError, LocalEntryNotFoundError

    patterns = list(wanted)
    try:
        folder = Path(snapshot_download(name, revision=revision, local_files_only=True, allow_patterns=patterns))
        if whole(folder):
            return folder
    except LocalEntryNotFoundError:
        pass
    try:
        HfApi().model_info(name, revision=revision, timeout=10)  # one quick question; a download would retry for minutes
        return Path(snapshot_download(name, revision=revision, allow_patterns=patterns))
    except (HfHubHTTPError, OSError, RuntimeError) as error:
        raise NotFetched(_reason(error)) from error
    except Exception as error:  # the HTTP client's own errors have no common public base
        if type(error).__module__.partition(".")[0].startswith("http"):
            raise NotFetched(_reason(error)) from error
        raise


def _reason(error: Exception) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0].rstrip(".")[:200]
