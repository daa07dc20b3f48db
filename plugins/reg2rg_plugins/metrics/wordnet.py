"""WordNet 3.0 where METEOR finds it: NLTK's data folders, then Debian's `wordnet-base`, copied once to a cache.

NLTK wants a `lexnames` and an `index.sense` beside the database files, which the Debian package lacks, and refuses links.
"""

from __future__ import annotations

import functools
import os
import shutil
import tempfile
import warnings
from pathlib import Path
from typing import Any

from reg2rg.errors import UserError

DEBIAN = Path("/usr/share/wordnet")
_PARTS = ("adj", "adv", "noun", "verb")
_DATABASE = (*(f"{kind}.{part}" for part in _PARTS for kind in ("data", "index")), *(f"{part}.exc" for part in _PARTS))
FIX = "Install Debian's wordnet-base, or run: python -m nltk.downloader wordnet (a folder elsewhere: set NLTK_DATA)."

# lexnames(5WN): the lexicographer files in order, with their part of speech (1 noun, 2 verb, 3 adjective, 4 adverb).
_LEXNAMES = (
    "adj.all", "adj.pert", "adv.all", "noun.Tops", "noun.act", "noun.animal", "noun.artifact", "noun.attribute", "noun.body",
    "noun.cognition", "noun.communication", "noun.event", "noun.feeling", "noun.food", "noun.group", "noun.location",
    "noun.motive",
    "noun.object", "noun.person", "noun.phenomenon", "noun.plant", "noun.possession", "noun.process", "noun.quantity",
    "noun.relation", "noun.shape", "noun.state", "noun.substance", "noun.time", "verb.body", "verb.change", "verb.cognition",
    "verb.communication", "verb.competition", "verb.consumption", "verb.contact", "verb.creation", "verb.emotion",
    "verb.motion",
    "verb.perception", "verb.possession", "verb.social", "verb.stative", "verb.weather", "adj.ppl",
)  # fmt: skip
_POS = {"noun": 1, "verb": 2, "adj": 3, "adv": 4}


def cache_folder() -> Path:
    """Where the toolkit keeps what it copied: `$XDG_CACHE_HOME/reg2rg`, else `~/.cache/reg2rg`."""
    base = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(base) / "reg2rg"


def _complete(folder: Path, extra: bool = True) -> bool:
    wanted = (*_DATABASE, "lexnames", "index.sense") if extra else _DATABASE
    return all((folder / name).is_file() for name in wanted)


def _copied(source: Path) -> Path:
    """A complete copy of the database in the cache, made once; a half-made copy is never seen."""
    target = cache_folder() / "nltk_data" / "corpora" / "wordnet"
    if _complete(target):
        return target
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=target.parent) as holder:
            fresh = Path(holder) / "wordnet"
            fresh.mkdir()
            for name in (*_DATABASE, "cntlist.rev"):
                if (source / name).is_file():
                    shutil.copyfile(source / name, fresh / name)
            lines = [f"{i:02d}\t{name}\t{_POS[name.split('.')[0]]}\n" for i, name in enumerate(_LEXNAMES)]
            (fresh / "lexnames").write_text("".join(lines), encoding="ascii")
            (fresh / "index.sense").touch()
            if not _complete(target):
                shutil.rmtree(target, ignore_errors=True)
                fresh.rename(target)
    except OSError as error:
        if _complete(target):  # another process was quicker
            return target
        raise UserError(
            f"WordNet can't be copied there ({error.strerror})", target, "Set XDG_CACHE_HOME or NLTK_DATA."
        ) from error
    return target


def find_wordnet() -> Path:
    """The folder (or NLTK's zip) of a usable WordNet. Raises UserError that says how to get one."""
    import nltk.data

    given = [Path(p) for p in os.environ.get("NLTK_DATA", "").split(os.pathsep) if p]
    for root in (*given, *map(Path, nltk.data.path)):
        folder = root / "corpora" / "wordnet"
        if _complete(folder):
            return folder
        if (zipped := root / "corpora" / "wordnet.zip").is_file():
            return zipped
        if _complete(folder, extra=False):
            return _copied(folder)
    if _complete(DEBIAN, extra=False):
        return _copied(DEBIAN)
    raise UserError("METEOR needs WordNet 3.0, which isn't on this machine", fix=FIX)


def load_wordnet() -> Any:
    """NLTK's reader of the WordNet that `find_wordnet` names; read once a process, for it takes a second."""
    return _reader(find_wordnet())


@functools.lru_cache(maxsize=1)
def _reader(place: Path) -> Any:
    import nltk.data
    from nltk.corpus.reader.wordnet import WordNetCorpusReader

    root = str(place.parent.parent)
    if root not in nltk.data.path:  # the reader refuses folders outside these
        nltk.data.path.insert(0, root)
    pointer = nltk.data.find("corpora/wordnet.zip/wordnet/" if place.suffix == ".zip" else "corpora/wordnet", [root])
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # it misses the multilingual data, which METEOR doesn't use
        return WordNetCorpusReader(pointer, None)
