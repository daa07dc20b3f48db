"""`reg2rg inspect`: what a path holds — a volume, mask, study, store, data set, run, reports file, table or recipe."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any

import typer

from ..errors import UserError
from .console import emit_json, show

Description = dict[str, Any]


def command(
    path: Annotated[
        Path, typer.Argument(help="Volume, mask, DICOM folder, zip, study .h5, store, data set, run, reports, recipe.")
    ],
    as_json: Annotated[bool, typer.Option("--json", help="Print the description as JSON.")] = False,
) -> None:
    """Describes what PATH holds: shapes, spacing, orientation and HU of a volume, regions and texts of a store, and so on.

    Example: reg2rg inspect scan.nii.gz
    """
    if not path.exists():
        raise UserError("no such file or folder", path, "Check the path.")
    found = _folder(path) if path.is_dir() else _file(path)
    found = {"kind": found.pop("kind"), "path": str(path), **found}
    if as_json:
        emit_json(found)
    else:
        show(_table(found))


def _file(path: Path) -> Description:
    readers: dict[str, Callable[[Path], Description]] = {
        ".h5": _study, ".yaml": _recipe, ".yml": _recipe, ".jsonl": _reports, ".csv": _csv, ".json": _json,
    }  # fmt: skip
    return readers.get(path.suffix.lower(), _image)(path)


def _folder(path: Path) -> Description:
    from ..data.layouts import detect
    from ..data.store import is_store

    if is_store(path):
        return _store(path)
    if (path / "recipe.yaml").is_file():
        return _run(path)
    return _dataset(path) if detect(path) != "folder" else _scans(path)


def _image(path: Path) -> Description:
    """A CT, or where its values aren't HU, a label map."""
    from ..ct import read_image

    image = read_image(path)
    try:
        return _volume(path, image)
    except UserError as error:
        if image.array.dtype.kind in "iu" and image.array.ndim >= 3 and image.array.min() >= 0 and image.array.max() < 4096:
            return _labels(path, str(error))
        raise


def _volume(path: Path, image: Any) -> Description:
    import numpy as np

    from ..ct.image import finish
    from ..ct.orientation import obliqueness

    try:
        volume = finish(image, path.name, whole=False)
    except UserError as error:
        raise UserError(error.what, error.where or path, error.fix) from error
    notes = list(volume.notes)
    try:
        finish(image, path.name)
    except UserError as error:
        notes.append(f"preprocess and report would refuse it: {error.what}")
    hu = volume.hu
    p1, p50, p99 = np.percentile(hu.ravel(order="K")[:: max(1, hu.size // 1_000_000)], (1, 50, 99))
    return {
        "kind": "volume",
        "format": image.kind,
        "stored": {"shape": list(image.array.shape), "dtype": image.stored, "orientation": image.codes},
        "orientation": "RAS",
        "oblique_degrees": round(obliqueness(volume.affine), 2),
        "shape": list(volume.shape),
        "spacing_mm": [round(s, 4) for s in volume.spacing],
        "extent_mm": [round(s * n, 1) for s, n in zip(volume.spacing, volume.shape, strict=True)],
        "affine": volume.affine.tolist(),
        "hu": {
            "min": int(hu.min()), "max": int(hu.max()), "mean": round(float(hu.mean()), 3),
            "p1": float(p1), "p50": float(p50), "p99": float(p99),
        },
        "notes": notes,
    }  # fmt: skip


def _labels(path: Path, why: str) -> Description:
    import numpy as np

    from ..ct import read_label_map
    from ..ct.orientation import codes

    labels = read_label_map(path)
    values, counts = np.unique(labels.array, return_counts=True)
    ml = abs(float(np.linalg.det(labels.affine[:3, :3]))) / 1000
    return {
        "kind": "label map",
        "shape": list(labels.array.shape),
        "spacing_mm": [round(float(s), 4) for s in np.linalg.norm(labels.affine[:3, :3], axis=0)],
        "orientation": codes(labels.affine),
        "affine": labels.affine.tolist(),
        "labels": {str(v): {"voxels": int(n), "ml": round(int(n) * ml, 3)} for v, n in zip(values, counts, strict=True) if v},
        "notes": [*labels.notes, f"no CT: {why}"],
    }


def _study(path: Path) -> Description:
    from ..data import store

    study, volume, mask = store.read_study(path), store.read_volume(path), store.read_mask(path)
    voxels = mask.voxels()
    return {
        "kind": "study",
        "study": study.id,
        "split": study.split,
        "shape": list(volume.shape),
        "spacing_mm": [round(s, 4) for s in volume.spacing],
        "hu": {"min": int(volume.hu.min()), "max": int(volume.hu.max()), "mean": round(float(volume.hu.mean()), 3)},
        "regions_ml": {r: round(n * volume.voxel_ml, 2) for r, n in voxels.items() if n},
        "regions_missing": mask.missing(),
        "region_reports": dict(study.region_reports),
        "report": study.report,
        "findings": [name for name, value in study.labels.items() if value],
        "labelled": bool(study.labels),
        "provenance": dict(study.provenance),
    }


def _store(path: Path) -> Description:
    from ..data.store import Store
    from ..preprocess.run import read_failures

    store = Store(path)
    studies = store.studies()
    regions = Counter(r for s in studies for r in s.region_reports)
    return {
        "kind": "store",
        "format": store.info["format"],
        "segmenter": store.info.get("segmenter", {}),
        "settings": store.info.get("settings", {}),
        "phantom": bool(store.info.get("phantom", False)),
        "studies": len(studies),
        "splits": dict(sorted(Counter(s.split or "none" for s in studies).items())),
        "with_report": sum(bool(s.report) for s in studies),
        "with_labels": sum(bool(s.labels) for s in studies),
        "region_reports": dict(sorted(regions.items())),
        "refused": len(read_failures(path)),
        "fingerprint": store.fingerprint(),
    }


def _dataset(path: Path) -> Description:
    from ..data.layouts import detect, discover

    sources = discover(path)
    return {
        "kind": "data set",
        "layout": detect(path),
        "studies": len(sources),
        "splits": dict(sorted(Counter(s.split or "none" for s in sources).items())),
        "with_masks": sum(s.masks is not None for s in sources),
        "with_region_reports": sum(bool(s.region_reports) for s in sources),
        "with_report": sum(bool(s.report) for s in sources),
        "with_labels": sum(bool(s.labels) for s in sources),
        "notes": [f"{s.id}: {note}" for s in sources for note in s.notes][:20],
    }


def _scans(path: Path) -> Description:
    """A folder of scans: the volume itself where there is one, else the list."""
    from ..ct import find_scans

    scans = find_scans(path)
    if len(scans) == 1:
        return _image(path)
    if not scans:
        raise UserError(
            "the folder holds nothing that reg2rg knows", path, "Name a scan, store, data set, run or reports file."
        )
    return {"kind": "folder of scans", "scans": {s.id: s.label for s in scans}}


def _run(path: Path) -> Description:
    from ..recipe import load

    recipe = load(path)
    steps = path / "metrics.jsonl"
    lines = steps.read_text(encoding="utf-8").splitlines() if steps.is_file() else []
    checkpoints = path / "checkpoints"
    return {
        "kind": "run",
        **_parts(recipe),
        "files": {p.name: p.stat().st_size for p in sorted(path.iterdir()) if p.is_file()},
        "checkpoints": sorted(p.name for p in checkpoints.iterdir()) if checkpoints.is_dir() else [],
        "last_step": json.loads(lines[-1]) if lines else {},
    }


def _recipe(path: Path) -> Description:
    from ..recipe import load

    return {"kind": "recipe", **_parts(load(path))}


def _parts(recipe: Any) -> Description:
    geometry = recipe.geometry_encoder
    return {
        "name": recipe.name,
        "summary": recipe.summary,
        "fingerprint": recipe.fingerprint(),
        "views": {"size": list(recipe.views.size), "texture": recipe.views.texture, "image": recipe.views.image},
        "volume_encoder": recipe.volume_encoder.name,
        "adapter": recipe.adapter.name,
        "geometry_encoder": geometry.name if geometry else "none",
        "decoder": recipe.decoder.name,
    }


def _reports(path: Path) -> Description:
    from ..evaluate import read_reports

    found = read_reports(path)
    sections = Counter(s.region or "none" for r in found.reports for s in r.sections)
    words = [len(r.report.split()) for r in found.reports]
    return {
        "kind": "reports",
        "studies": len(found.reports),
        "with_reference": sum(bool(r.reference) for r in found.reports),
        "sections": dict(sorted(sections.items())),
        "mean_words": round(sum(words) / len(words), 1) if words else 0,
        "excluded": found.excluded,
    }


def _csv(path: Path) -> Description:
    """A reports file where it reads as one, else any table."""
    from ..data.tables import read_table

    rows = read_table(path)
    try:
        return _reports(path)
    except UserError as error:
        return {"kind": "table", "rows": len(rows), "columns": list(rows[0]), "notes": [f"no reports file: {error.what}"]}


def _json(path: Path) -> Description:
    try:
        data = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise UserError("it isn't valid JSON", path, "Check that it was written whole.") from error
    if isinstance(data, dict) and isinstance(data.get("metrics"), dict):
        return {"kind": "evaluation", "n": data.get("n"), "metrics": data["metrics"]}
    return {"kind": "JSON", "holds": sorted(data) if isinstance(data, dict) else f"a list of {len(data)}"}


def _table(found: Description) -> Any:
    from rich.table import Table
    from rich.text import Text

    table = Table(show_header=False, box=None, padding=(0, 2, 0, 0))
    table.add_column(style="bold")
    table.add_column(overflow="fold")
    for key, value in found.items():
        table.add_row(key.replace("_", " "), Text(_said(value)))
    return table


def _said(value: Any) -> str:
    if isinstance(value, dict):
        flat = {k: ", ".join(f"{a} {b}" for a, b in v.items()) if isinstance(v, dict) else _said(v) for k, v in value.items()}
        return "\n".join(f"{k}: {v}" for k, v in flat.items()) or "none"
    if isinstance(value, list):
        if value and isinstance(value[0], list):
            return "\n".join("  ".join(f"{x:10.4f}" for x in row) for row in value)
        joined = "\n" if any(isinstance(v, str) and " " in v for v in value) else ", "
        return joined.join(map(str, value)) or "none"
    return str(value)
