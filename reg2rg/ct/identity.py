"""Names for studies that tell nothing of the patient: a DICOM series becomes a hash keyed by a salt that stays with the user.

The salt is `$REG2RG_SALT`, else the file `reg2rg/salt` in the user's configuration folder, made once at random: the same
series gets the same id in every store of one user, and nobody else can compute it.
"""

from __future__ import annotations

import hashlib
import hmac
import os
import secrets
from pathlib import Path

from ..errors import UserError


def salt_file() -> Path:
    """Where the salt lies when the environment doesn't give it."""
    return Path(os.environ.get("XDG_CONFIG_HOME") or Path.home() / ".config") / "reg2rg" / "salt"


def salt() -> bytes:
    """The user's salt; made and kept where there is none yet."""
    if given := os.environ.get("REG2RG_SALT"):
        return given.encode()
    path = salt_file()
    try:
        if not path.exists():
            _make(path)
        kept = path.read_text().strip()
    except OSError as error:
        raise UserError("the salt that hides DICOM identities can't be kept", path, "Set REG2RG_SALT to any secret.") from error
    if not kept:
        raise UserError("the salt that hides DICOM identities is empty", path, "Delete the file, or set REG2RG_SALT.")
    return kept.encode()


def _make(path: Path) -> None:
    """Writes a new salt whole or not at all; where another process was faster, its salt stays."""
    path.parent.mkdir(parents=True, exist_ok=True)
    fresh = path.with_name(f".salt.{os.getpid()}")
    handle = os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(handle, "w") as file:
        file.write(secrets.token_hex(32))
    try:
        os.link(fresh, path)
    except FileExistsError:
        pass
    except OSError:
        # a file system without hard links
        if not path.exists():
            fresh.replace(path)
    finally:
        fresh.unlink(missing_ok=True)


def pseudonym(text: str) -> str:
    """The id of a DICOM series: 16 hexadecimal digits that only the salt's owner can compute."""
    return "dicom-" + hmac.new(salt(), text.encode(), hashlib.sha256).hexdigest()[:16]
