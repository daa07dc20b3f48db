"""TotalSegmentator's tasks that tell regions, with the weights that each wants, as data (names of release 2.18)."""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Iterable
from pathlib import Path

from reg2rg.errors import UserError, suggest

VARIABLE = "TOTALSEG_WEIGHTS_PATH"  # the package's own


@dataclasses.dataclass(frozen=True, slots=True)
class Task:
    """`regions` it tells, derived ones too; `models`: numbers of its weights, of each group one; `fast`: those at 3 mm."""

    regions: frozenset[str]
    models: tuple[tuple[int, ...], ...]
    fast: tuple[tuple[int, ...], ...] = ()


_WHOLE = frozenset(
    ("abdomen", "bone", "esophagus", "heart", "lung", "mediastinum", "pleura", "thyroid", "trachea and bronchie")
)
_LUNGS = (297, 298)  # the lungs are looked for first, at 3 or at 6 mm, as the release will have it

TASKS: dict[str, Task] = {
    "total": Task(_WHOLE, ((291,), (292,), (293,), (294,), (295,)), ((297,),)),
    "total_v3": Task(_WHOLE, ((831,), (832,), (833,), (834,), (835,)), ((836,),)),
    "lung_vessels": Task(frozenset(("trachea and bronchie",)), ((117, 258), _LUNGS)),
    "breasts": Task(frozenset(("breast",)), ((527,),)),
    "trunk_cavities": Task(frozenset(("abdomen", "heart", "mediastinum")), ((343,),)),
    "pleural_pericard_effusion": Task(frozenset(("heart", "pleura")), ((315,), _LUNGS)),
}

# Tasks that want a licence of their own (free of charge for non-commercial use): never run from here.
LICENSED: frozenset[str] = frozenset(
    (
        *("heartchambers_highres", "coronary_arteries", "coronary_arteries_LEGACY", "aortic_sinuses", "aorta_annulus"),
        *("aortic_dissection", "renal_arteries", "pulmonary_artery_landmarks", "appendicular_bones", "appendicular_bones_mr"),
        *("tissue_types", "tissue_types_mr", "tissue_4_types", "face", "face_mr", "brain_structures"),
        *("thigh_shoulder_muscles", "thigh_shoulder_muscles_mr"),
    )
)

# Numbers of weights → the name that totalseg_download_weights knows them by.
DOWNLOADS: dict[int, str] = {
    **dict.fromkeys(range(291, 296), "total"),
    **{297: "total_fast", 298: "total_fast", 836: "total_v3_fast"},
    **dict.fromkeys(range(831, 836), "total_v3"),
    **{117: "lung_vessels", 258: "lung_vessels_LEGACY", 527: "breasts", 343: "trunk_cavities"},
    315: "pleural_pericard_effusion",
}


def chosen(tasks: str | Iterable[str]) -> tuple[str, ...]:
    """The tasks by name, each once. Raises UserError for an unknown one, and for one that wants a licence."""
    listed = tasks.split(",") if isinstance(tasks, str) else tasks
    names = tuple(dict.fromkeys(name.strip() for name in listed if name.strip()))
    for name in names:
        if name in LICENSED:
            raise UserError(
                f"the task '{name}' wants a licence of TotalSegmentator's authors, and isn't run from here",
                "tasks",
                "Run TotalSegmentator yourself, and read its output with: --segmenter precomputed --set names=totalsegmentator",
            )
        if name not in TASKS:
            raise UserError(f"no task that tells regions is called '{name}'", "tasks", suggest(name, TASKS))
    if not names:
        raise UserError("no task is named", "tasks", suggest("", TASKS))
    return names


def weights_folder(given: Path | None) -> Path:
    """Where the weights lie: as given, else where the package looks for them."""
    home = Path(os.environ.get("TOTALSEG_HOME_DIR") or Path.home() / ".totalsegmentator")
    return Path(given or os.environ.get(VARIABLE) or home / "nnunet" / "results").expanduser().absolute()


def check_weights(folder: Path, tasks: Iterable[str], fast: bool) -> None:
    """Raises UserError that names the weights which the folder lacks, and how they are fetched."""
    there = {path.name.partition("_")[0] for path in folder.iterdir()} if folder.is_dir() else set()
    for name in tasks:
        task = TASKS[name]
        groups = task.fast if fast and task.fast else task.models
        if lacking := [group for group in groups if not any(f"Dataset{number}" in there for number in group)]:
            listed = ", ".join(" or ".join(f"Dataset{number}_…" for number in group) for group in lacking)
            wanted = dict.fromkeys(DOWNLOADS[group[0]] for group in lacking)
            fetch = " and ".join(f"{VARIABLE}={folder} totalseg_download_weights -t {download}" for download in wanted)
            raise UserError(
                f"the weights of TotalSegmentator's task '{name}' are missing ({listed})",
                folder,
                f"Fetch them where the package is installed: {fetch}; or name their folder: --set weights=FOLDER; or let the "
                "package fetch them: --set download=true",
            )
