"""benchmarks/segmenters.py: its measures on masks whose figures are known, how masks are laid on a CT, tables between marks."""

from __future__ import annotations

from pathlib import Path

import nibabel
import numpy as np
import pytest
import segmenters
from segmenters_masks import SCANS, Scan, Truth, load, measure, sides

from reg2rg.contracts import RegionMask, Volume

SPACING = (1.0, 1.0, 1.0)


def box(*ranges: tuple[int, int], shape: tuple[int, int, int] = (60, 40, 30)) -> np.ndarray:
    mask = np.zeros(shape, dtype=bool)
    mask[tuple(slice(a, b) for a, b in ranges)] = True
    return mask


@pytest.mark.parametrize(
    "name, figure",
    [("dice", 2 * 500 / 1500), ("recall", 1.0), ("precision", 0.5), ("taken", 1.0)],
    ids=["dice", "recall", "precision", "taken"],
)
def test_measures_of_a_mask_half_as_large_as_ours(name: str, figure: float) -> None:
    found = RegionMask.from_masks({"heart": box((10, 20), (10, 20), (10, 20))})
    truth = box((10, 20), (10, 20), (10, 15))
    assert measure(found, truth, ("heart", name), SPACING) == pytest.approx(figure)
    assert measure(found, truth, ("abdomen", "recall"), SPACING) == 0.0


def test_regions_joined_by_a_plus_count_together_and_the_surface_alone_counts() -> None:
    found = RegionMask.from_masks({"heart": box((0, 10), (0, 10), (0, 5)), "mediastinum": box((0, 10), (0, 10), (5, 10))})
    truth = box((0, 10), (0, 10), (0, 10))
    assert measure(found, truth, ("heart+mediastinum", "recall"), SPACING) == 1.0
    lung = box((20, 30), (20, 30), (10, 20))
    shell = RegionMask.from_masks({"pleura": lung & ~box((21, 29), (21, 29), (11, 19))})
    assert measure(shell, lung, ("pleura", "surface"), SPACING) == 1.0 > measure(shell, lung, ("pleura", "recall"), SPACING)


def test_sides_are_told_by_place_and_only_where_they_do_not_touch() -> None:
    left, right = box((2, 26), (2, 36), (2, 28)), box((34, 58), (2, 36), (2, 28))
    assert [np.array_equal(a, b) for a, b in zip(sides(left | right, SPACING), (right, left), strict=True)] == [True, True]
    assert segmenters.touching(left | right, (2.0, 2.0, 2.0)) == 2
    assert segmenters.touching(left | right | box((20, 40), (10, 12), (5, 7)), (2.0, 2.0, 2.0)) == 1


def test_a_mask_of_a_larger_grid_is_laid_on_the_ct_by_world_and_another_grid_is_refused(tmp_path: Path) -> None:
    volume = Volume(np.zeros((20, 20, 20), dtype=np.int16), np.diag([2.0, 2.0, 2.0, 1.0]))
    array = np.zeros((30, 30, 30), dtype=np.uint8)
    array[12, 13, 14] = 7
    affine = np.diag([2.0, 2.0, 2.0, 1.0])
    affine[:3, 3] = (-10.0, -6.0, 4.0)
    nibabel.save(nibabel.Nifti1Image(array, affine), tmp_path / "part_a.nii.gz")
    truth = Truth("a part", ("part_*.nii.gz",), "drawn", (("lung", "recall"),))
    assert np.argwhere(load(truth, tmp_path, volume)).tolist() == [[7, 10, 16]]
    assert not load(Truth("another label", truth.files, "drawn", truth.scores, (6,)), tmp_path, volume).any()
    affine[0, 3] += 0.7
    nibabel.save(nibabel.Nifti1Image(array, affine), tmp_path / "moved.nii.gz")
    with pytest.raises(ValueError, match="another grid"):
        load(Truth("moved", ("moved.nii.gz",), "drawn", truth.scores), tmp_path, volume)
    with pytest.raises(ValueError, match="absent"):
        load(Truth("none", ("no*.nii.gz",), "", ()), tmp_path, volume)


def test_tables_stand_between_the_marks_and_nothing_else_changes() -> None:
    rows = segmenters.phantom_rows("demo", "small", 2)
    lung = next(row for row in rows if row["region"] == "lung")
    assert lung["given"] == 2 and 0.9 < lung["lowest"] <= lung["mean"] <= 1.0
    data = {"scans": [], "rows": [], "phantoms": rows}
    text = f"before\n{segmenters.BEGIN} -->\nold\n{segmenters.END}\nafter\n"
    page = segmenters.page(text, segmenters.markdown(data))
    assert page.startswith("before\n") and page.endswith("\nafter\n") and "old" not in page and "| lung | 0.9" in page
    assert segmenters.page(page, segmenters.markdown(data)) == page
    with pytest.raises(SystemExit, match="marks"):
        segmenters.page("no marks", "")


def test_every_mask_of_the_list_is_there_and_every_figure_of_the_coarse_chest_holds(shared: Path) -> None:
    missing = [
        f"{scan.folder}/{glob}"
        for scan in SCANS
        if (shared / "data" / scan.folder).is_dir()
        for truth in scan.truths
        for glob in truth.files
        if not any((shared / "data" / scan.folder).glob(glob))
    ]
    assert not missing
    coarse: Scan = next(scan for scan in SCANS if scan.folder == "cip-chest64")
    if not (shared / "data" / coarse.folder / coarse.file).is_file():
        pytest.skip(f"{coarse.folder} is absent from the shared material")
    about, rows = segmenters.scan_rows(coarse, shared / "data")
    figures = {(row["mask"], row["region"]): row["figure"] for row in rows}
    assert about["lungs"] == 2 and about["seconds"] > 0 and about["mib"] > 1
    assert min(figures["whole lung", "lung"], figures["lung thirds", "right lung"], figures["lung thirds", "left lung"]) > 0.97
    assert figures["airway", "trachea and bronchie"] > 0.7


FLOORS = {
    "ts-abdomen/example_ct_sm.nii.gz": {
        ("vertebrae", "bone", "recall"): 0.85,
        ("ribs", "bone", "recall"): 0.70,
        ("vertebrae and ribs", "bone", "precision"): 0.82,
        ("kidney right", "abdomen", "recall"): 0.95,
        ("spleen", "abdomen", "recall"): 0.95,
        ("lung lobes", "lung", "dice"): 0.95,
    },
    "ts-thorax-cta/ct.nii.gz": {
        ("vertebra T12", "bone", "recall"): 0.95,
        ("celiac trunk", "abdomen", "recall"): 0.9,
        ("whole aorta", "abdomen+heart+mediastinum", "recall"): 0.8,
    },
}
CEILINGS = {
    "ts-abdomen/example_ct_sm.nii.gz": {("back muscles", "abdomen", "taken"): 0.03},
    "ts-thorax-cta/ct.nii.gz": {("whole aorta", "bone", "taken"): 0.08, ("its true lumen", "bone", "taken"): 0.03},
}


@pytest.mark.parametrize("file", sorted(FLOORS))
def test_figures_on_real_cts_do_not_fall(shared: Path, file: str) -> None:
    folder, _, name = file.partition("/")
    if not (shared / "data" / file).is_file():
        pytest.skip(f"{file} is absent from the shared material")
    scan = next(scan for scan in SCANS if (scan.folder, scan.file) == (folder, name))
    _, rows = segmenters.scan_rows(scan, shared / "data")
    figures = {(row["mask"], row["region"], row["measure"]): row["figure"] for row in rows}
    assert {key: figures[key] for key, least in FLOORS[file].items() if figures[key] < least} == {}
    assert {key: figures[key] for key, most in CEILINGS[file].items() if figures[key] > most} == {}
