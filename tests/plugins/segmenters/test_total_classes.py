"""TotalSegmentator's classes as regions: the table, the aorta's parts, the derived pleura, and its output read from disk."""

from __future__ import annotations

import ast
import importlib.util
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
from reg2rg_plugins.segmenters._total_classes import AORTA, OTHER_CLASSES, REGION_CLASSES, T12, is_class, regions_of, word
from reg2rg_plugins.segmenters._total_regions import add_pleura, part_aorta
from reg2rg_plugins.segmenters._total_tasks import DOWNLOADS, LICENSED, TASKS
from reg2rg_plugins.segmenters.precomputed import Precomputed
from scipy import ndimage

from reg2rg.anatomy import REGIONS
from reg2rg.contracts import RegionMask, Volume
from reg2rg.ct import read_volume
from reg2rg.errors import UserError

BIT = {region: 1 << i for i, region in enumerate(REGIONS)}
NAMES = Path("totalsegmentator")
SHAPE = (10, 10, 12)


@pytest.fixture
def volume() -> Volume:
    affine = np.diag([3.0, 3.0, 3.0, 1.0])
    affine[:3, 3] = (-20.0, 5.0, 100.0)
    return Volume(np.zeros(SHAPE, np.int16), affine)


def read(masks: Path, volume: Volume, names: Path | None = NAMES) -> RegionMask:
    return Precomputed(names=names).for_study(masks).segment(volume)


def save(path: Path, array: np.ndarray, volume: Volume, labels: dict[int, str] | None = None) -> Path:
    """A file as TotalSegmentator writes it: LPS, a label map's classes in the header."""
    path.parent.mkdir(parents=True, exist_ok=True)
    to = nib.orientations.axcodes2ornt("LPS")
    turned = nib.orientations.apply_orientation(array, to)
    image = nib.Nifti1Image(turned, volume.affine @ nib.orientations.inv_ornt_aff(to, array.shape))
    if labels:
        rows = "".join(
            f'<Label Key="{key}" Red="0.1" Green="1.0" Blue="0.0" Alpha="1"><![CDATA[{name}]]></Label>\n'
            for key, name in labels.items()
        )
        text = f'<?xml version="1.0"?> <CaretExtension><LabelTable>\n{rows}</LabelTable></CaretExtension>'
        image.header.extensions.append(nib.nifti1.Nifti1Extension(0, text.encode()))
    nib.save(image, path)
    return path


# --- the table ---------------------------------------------------------------------------------------------------------


def test_the_table_names_each_class_once_and_gives_all_regions() -> None:
    names = [name for classes in REGION_CLASSES.values() for name in classes]
    assert len(names) == len(set(names)) and not set(names) & OTHER_CLASSES and set(REGION_CLASSES) == set(REGIONS)
    assert regions_of(frozenset(names)) == set(REGIONS)
    assert word("liver") == BIT["abdomen"] and word("rib_left_12") == BIT["bone"] and word("brain") == 0
    assert word("aorta") == AORTA and word("vertebrae_T12") == BIT["bone"] | T12 and word("Lungs") == BIT["lung"]
    assert word("lung_airways") == word("lung_trachea_bronchia") == BIT["trachea and bronchie"]
    assert word("spleeen") is None and not is_class("lungs")


def test_the_table_against_the_package() -> None:
    if importlib.util.find_spec("totalsegmentator") is None:
        pytest.skip("the package totalsegmentator isn't importable here")
    from totalsegmentator import map_to_binary

    real = {task: set(classes.values()) for task, classes in map_to_binary.class_map.items()}
    tasks = {*TASKS, "total_v1", "lung_vessels_LEGACY"}
    known = {name for classes in REGION_CLASSES.values() for name in classes} | OTHER_CLASSES
    assert {name for task in tasks for name in real[task]} == known, "every class of our tasks, and none beside them"
    for task, facts in TASKS.items():
        assert regions_of(frozenset(name for name in real[task] if word(name))) == facts.regions
    assert set(map_to_binary.commercial_models) == LICENSED


def test_the_call_and_the_weights_against_the_package() -> None:
    found = importlib.util.find_spec("totalsegmentator")
    if found is None or found.origin is None:
        pytest.skip("the package totalsegmentator isn't importable here")
    folder = Path(found.origin).parent
    functions = [n for n in ast.parse((folder / "python_api.py").read_text()).body if isinstance(n, ast.FunctionDef)]
    parameters = [a.arg for n in functions if n.name == "totalsegmentator" for a in n.args.args]
    assert parameters[:2] == ["input", "output"]
    assert {"ml", "task", "fast", "device", "quiet", "nr_thr_resamp", "nr_thr_saving"} <= set(parameters)
    config = (folder / "config.py").read_text()
    assert all(name in config for name in ("TOTALSEG_HOME_DIR", "TOTALSEG_WEIGHTS_PATH", "send_usage_stats"))
    from totalsegmentator.map_tasks_config import TASK_CONFIGS, TASK_ID_WEIGHTS_CONFIGS

    for task, facts in TASKS.items():
        modes = TASK_CONFIGS[task].get("sub_modes", {"default": TASK_CONFIGS[task]})
        for groups, mode in ((facts.models, "default"), (facts.fast, "fast")):
            wanted = modes[mode]["task_id"] if mode in modes else []
            wanted = wanted if isinstance(wanted, list) else [wanted]
            assert [group[0] for group in groups][: len(wanted)] == wanted
    for number in DOWNLOADS:
        assert TASK_ID_WEIGHTS_CONFIGS[number]["foldername"].startswith(f"Dataset{number}_")


# --- what is derived ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "t12, lungs, border",
    [((4, 7), True, 4), ((4, 7), False, 4), (None, True, 0), (None, False, 12)],
    ids=["t12", "t12 without lungs", "lungs", "neither"],
)
def test_the_aorta_is_parted_at_t12(t12: tuple[int, int] | None, lungs: bool, border: int) -> None:
    bits = np.zeros(SHAPE, np.uint16)
    bits[4, 4] = AORTA
    if t12:
        bits[6, 6, t12[0] : t12[1]] = T12 | BIT["bone"]
    if lungs:
        bits[0, :, 9:] |= np.uint16(BIT["lung"])
    part_aorta(bits, abdomen=True)
    assert (bits[4, 4, border:] == BIT["mediastinum"]).all() and (bits[4, 4, :border] == BIT["abdomen"]).all()
    assert not (bits >> len(REGIONS)).any() and (not t12 or (bits[6, 6, t12[0] : t12[1]] == BIT["bone"]).all())


def test_an_aorta_alone_doesnt_give_the_abdomen(tmp_path: Path, volume: Volume) -> None:
    mask = np.zeros(SHAPE, np.uint8)
    mask[4, 4] = 1
    save(tmp_path / "aorta.nii.gz", mask, volume)
    save(tmp_path / "vertebrae_T12.nii.gz", np.roll(mask, 2, axis=0) * (np.arange(12) == 5).astype(np.uint8), volume)
    found = read(tmp_path, volume)
    assert found.given == {"bone", "mediastinum"} and not found.mask("mediastinum")[..., :5].any()
    assert found.mask("mediastinum")[4, 4, 5:].all()


def test_the_pleura_is_a_shell_around_the_lungs_without_bone_and_airway() -> None:
    spacing = (1.5, 1.5, 2.0)
    x, y, z = np.ogrid[:60, :60, :50]
    lung = ((x - 30) * 1.5) ** 2 + ((y - 30) * 1.5) ** 2 + ((z - 25) * 2.0) ** 2 < 30**2
    bits = np.where(lung, np.uint16(BIT["lung"]), np.uint16(0))
    bits[:, :6] |= np.uint16(BIT["bone"])
    bits[30, 30] |= np.uint16(BIT["trachea and bronchie"])
    assert add_pleura(bits, spacing)
    pleura = bits & BIT["pleura"] != 0
    outside = ndimage.distance_transform_edt(~lung, spacing)
    inside = ndimage.distance_transform_edt(lung, spacing)
    assert (outside[pleura] < 5 + 3).all() and (inside[pleura] < 7 + 3).all(), "within a block of the shell's reach"
    near = (outside < 3) & (inside < 4) & (bits & (BIT["bone"] | BIT["trachea and bronchie"]) == 0)
    assert pleura[near].all() and not pleura[:, :6].any() and not pleura[30, 30].any()
    assert (bits & BIT["lung"] != 0).sum() == lung.sum()
    assert not add_pleura(np.zeros((4, 4, 4), np.uint16), spacing)


# --- its output, read from disk ----------------------------------------------------------------------------------------


def test_a_folder_of_class_files(tmp_path: Path, volume: Volume) -> None:
    places = {"liver": 0, "spleen": 1, "rib_left_3": 2, "heart": 3, "atrial_appendage_left": 4, "trachea": 5, "brain": 6}
    for name, i in places.items():
        mask = np.zeros(SHAPE, np.uint8)
        mask[i, :, 2:5] = 1
        save(tmp_path / f"{name}.nii.gz", mask, volume)
    save(tmp_path / "thyroid_gland.nii.gz", np.zeros(SHAPE, np.uint8), volume)
    save(tmp_path / "nodule.nii.gz", np.ones(SHAPE, np.uint8), volume)
    found = read(tmp_path, volume)
    assert found.given == {"abdomen", "bone", "heart", "thyroid", "trachea and bronchie"}
    columns = {"abdomen": [0, 1], "bone": [2], "heart": [3, 4], "trachea and bronchie": [5]}
    for region, at in columns.items():
        assert sorted(set(np.nonzero(found.mask(region))[0])) == at and found.mask(region).sum() == 30 * len(at)
    assert found.missing()["thyroid"] == "not in the field of view"
    assert "named after no region or class, left aside: nodule.nii.gz" in found.notes
    assert "trachea and bronchie: the trachea only (task lung_vessels)" in found.notes


def test_class_files_without_the_option_are_told_of(tmp_path: Path, volume: Volume) -> None:
    save(tmp_path / "liver.nii.gz", np.ones(SHAPE, np.uint8), volume)
    with pytest.raises(UserError, match="For TotalSegmentator's classes: names=totalsegmentator"):
        read(tmp_path, volume, None)
    save(tmp_path / "heart.nii.gz", np.ones(SHAPE, np.uint8), volume)
    assert read(tmp_path, volume, None).notes == (
        "not named after a region, left aside: liver.nii.gz (some are TotalSegmentator's classes: names=totalsegmentator "
        "reads them)",
    )


@pytest.mark.parametrize("alone", [True, False], ids=["file", "folder"])
def test_a_label_map_that_names_its_classes(tmp_path: Path, volume: Volume, alone: bool) -> None:
    labels = np.zeros(SHAPE, np.uint8)
    labels[:2], labels[2:4], labels[4], labels[5], labels[6] = 5, 10, 90, 77, 99
    names = {0: "spleen", 5: "liver", 10: "lung_upper_lobe_left", 51: "thyroid_gland", 90: "brain", 99: "a &amp; b"}
    path = save(tmp_path / "m" / "total.nii.gz", labels, volume, names)
    found = read(path if alone else path.parent, volume)
    assert found.given == {"abdomen", "lung", "pleura", "thyroid"} and found.mask("abdomen")[:2].all()
    assert found.mask("lung")[2:4].all() and found.mask("pleura").any() and not found.mask("lung")[4:].any()
    assert "total.nii.gz: labels without a name were left out: 77, a &amp; b" in found.notes
    assert any(note.startswith("pleura: derived, a shell of 5 mm outside and 7 mm inside") for note in found.notes)


def test_a_label_map_without_names_asks_for_a_table_which_may_name_classes(tmp_path: Path, volume: Volume) -> None:
    labels = np.zeros(SHAPE, np.uint8)
    labels[:2], labels[4] = 5, 6
    path = save(tmp_path / "total.nii.gz", labels, volume)
    with pytest.raises(UserError, match="its header doesn't name its labels"):
        read(path, volume)
    table = tmp_path / "names.csv"
    table.write_text("5,liver\n6,lung\n7,vertebrae_T12\n")
    found = read(path, volume, table)
    assert found.given == Precomputed(names=table).regions == {"abdomen", "lung", "bone"}
    assert found.mask("abdomen")[:2].all() and found.mask("lung")[4].all()


def test_its_regions_and_fingerprint() -> None:
    tool = Precomputed(names=NAMES)
    assert tool.regions == set(REGIONS) and tool.fingerprint != Precomputed().fingerprint
    assert tool.fingerprint == Precomputed(names=Path("totalsegmentator")).fingerprint


def need(shared: Path, name: str) -> Path:
    path = shared / "data" / name
    if not path.exists():
        pytest.skip(f"{name} is absent from the shared material")
    return path


def test_the_real_tools_output(shared: Path) -> None:
    volume = read_volume(need(shared, "ts-abdomen/example_ct_sm.nii.gz"))
    files = read(need(shared, "ts-abdomen/masks_example_ct_sm"), volume)
    one = read(need(shared, "ts-abdomen/example_seg.nii.gz"), volume)
    for found in (files, one):
        assert found.given == set(REGIONS) - {"breast"}
        assert set(found.missing()) == {"breast", "esophagus", "heart", "thyroid", "trachea and bronchie"}
    both = np.count_nonzero(files.mask("abdomen") & one.mask("abdomen"))
    assert 2 * both / (files.voxels()["abdomen"] + one.voxels()["abdomen"]) > 0.95
    by_place = read(need(shared, "ts-abdomen/example_seg_dicom.nii.gz"), read_volume(need(shared, "ts-abdomen/dicom_j2k")))
    assert by_place.voxels()["abdomen"] > 366_708 + 130_634, "liver and spleen, and more"


def test_an_origin_that_lies_is_found_out(shared: Path) -> None:
    volume = read_volume(need(shared, "ts-abdomen/example_ct_sm.nii.gz"))
    with pytest.raises(UserError, match="only 19 % of what the masks hold lies in the scan"):
        read(need(shared, "ts-abdomen/example_seg_fast_force_split.nii.gz"), volume)
    read(
        need(shared, "ts-abdomen/example_seg_fast_force_split.nii.gz"),
        read_volume(need(shared, "ts-abdomen/example_ct.nii.gz")),
    )


def test_empty_on_purpose(shared: Path) -> None:
    volume = read_volume(need(shared, "ts-abdomen/example_ct_sm.nii.gz"))
    with pytest.raises(UserError, match="all masks are empty"):
        read(need(shared, "ts-abdomen/masks_lung_vessels_empty"), volume)
