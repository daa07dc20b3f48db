"""`totalsegmentator` by a stand-in of its package in another Python: what it is asked, what comes back, what can go wrong.

The stand-in has the real function's name and parameters (release 2.18), prints to stdout as that does, and labels a voxel by
its HU: 5 is class 5.
"""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import pytest
from reg2rg_plugins.segmenters.totalsegmentator import TotalSegmentator

from reg2rg import plugins
from reg2rg.anatomy import REGIONS
from reg2rg.conformance import conform
from reg2rg.contracts import RegionMask, Volume
from reg2rg.errors import UserError

Run = Callable[..., subprocess.CompletedProcess[str]]
AIRWAY = "trachea and bronchie"

STAND_IN = {
    "totalsegmentator/__init__.py": "",
    "totalsegmentator/map_to_binary.py": """
class_map = {
    "total": {1: "spleen", 5: "liver", 10: "lung_upper_lobe_left", 15: "esophagus", 16: "trachea", 17: "thyroid_gland",
              32: "vertebrae_T12", 51: "heart", 52: "aorta", 90: "brain", 99: "new_class"},
    "breasts": {1: "breast"},
    "trunk_cavities": {1: "abdominal_cavity", 2: "thoracic_cavity", 3: "pericardium", 4: "mediastinum"},
    "lung_vessels": {1: "lung_vessels", 2: "lung_trachea_bronchia"},
    "pleural_pericard_effusion": {1: "lung_pleural", 2: "pleural_effusion", 3: "pericardial_effusion"},
}
""",
    "totalsegmentator/python_api.py": """
import json, os, socket, sys
from pathlib import Path
import nibabel as nib
import numpy as np
from totalsegmentator.map_to_binary import class_map

def said(act, *args):
    try:
        act(*args)
    except OSError as error:
        return str(error)

def totalsegmentator(input, output=None, ml=False, nr_thr_resamp=1, nr_thr_saving=6, fast=False, nora_tag="None",
                     preview=False, task="total", roi_subset=None, statistics=False, radiomics=False, crop_path=None,
                     body_seg=False, force_split=False, output_type="nifti", quiet=False, verbose=False, test=0,
                     skip_saving=False, device="gpu", license_number=None):
    print("If you use this tool please cite")
    home = Path(os.environ["TOTALSEG_HOME_DIR"])
    config = json.loads((home / "config.json").read_text())
    image = nib.load(input)
    hu = np.asarray(image.dataobj)
    with open(os.environ["STAND_IN_LOG"], "a") as file:
        print(json.dumps(dict(
            pid=os.getpid(), input=str(input), folder=sorted(os.listdir(Path(input).parent)), output=output, ml=ml, fast=fast,
            task=task, device=device, quiet=quiet, saving=nr_thr_saving, stats=config["send_usage_stats"], home=str(home),
            weights=os.environ["TOTALSEG_WEIGHTS_PATH"], dtype=str(hu.dtype),
            reach=bool(hu.max() == 6) and said(socket.getaddrinfo, "weights.invalid", 443),
            connect=bool(hu.max() == 6) and said(socket.socket().connect, ("127.0.0.2", 9)),
            codes=[int(image.header["qform_code"]), int(image.header["sform_code"])], descrip=str(image.header["descrip"]),
        )), file=file)
    if hu.max() == 1001:
        raise RuntimeError("CUDA error:\\nno kernel image")
    if hu.max() == 1006:
        socket.getaddrinfo("weights.invalid", 443)
    if hu.max() == 1002:
        print("licence"); sys.exit(1)
    if hu.max() == 1003:
        os._exit(9)
    labels = np.where(np.isin(hu, list(class_map[task])), hu, 0).astype(np.uint8)
    affine = image.affine
    if hu.max() == 1004:
        labels, affine = labels[::2], affine @ np.diag([2, 1, 1, 1])
    if hu.max() == 1005:
        affine[0, 3] += 3
    turn = nib.orientations.axcodes2ornt("LPS")
    affine = affine @ nib.orientations.inv_ornt_aff(turn, labels.shape)
    return nib.Nifti1Image(nib.orientations.apply_orientation(labels, turn), affine)
""",
    "TotalSegmentator-2.99.dist-info/METADATA": "Metadata-Version: 2.1\nName: TotalSegmentator\nVersion: 2.99\n",
}
MODELS = (*range(291, 296), 297, 298, 117, 315, 343, 527)


@pytest.fixture
def python(tmp_path: Path) -> str:
    """Another Python, which has the stand-in; this one doesn't."""
    for name, text in STAND_IN.items():
        path = tmp_path / "packages" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    script = tmp_path / "python"
    script.write_text(f'#!/bin/sh\nPYTHONPATH="{tmp_path / "packages"}" exec "{sys.executable}" "$@"\n')
    script.chmod(0o755)
    return str(script)


@pytest.fixture
def weights(tmp_path: Path) -> Path:
    for number in MODELS:
        (tmp_path / "weights" / f"Dataset{number}_name").mkdir(parents=True)
    return tmp_path / "weights"


@pytest.fixture
def log(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[], list[dict[str, Any]]]:
    """What the stand-in was asked."""
    path = tmp_path / "log.jsonl"
    monkeypatch.setenv("STAND_IN_LOG", str(path))
    monkeypatch.delenv("REG2RG_TOTALSEGMENTATOR_PYTHON", raising=False)
    monkeypatch.delenv("TOTALSEG_WEIGHTS_PATH", raising=False)
    return lambda: [json.loads(line) for line in path.read_text().splitlines()]


def body(**columns: int) -> Volume:
    """A volume whose columns along x hold a value each: `at2=5` puts 5 into x = 2."""
    hu = np.full((12, 10, 8), -800, np.int16)
    for place, value in columns.items():
        hu[int(place.removeprefix("at"))] = value
    affine = np.diag([3.0, 3.0, 4.0, 1.0])
    affine[:3, 3] = (-30.0, 12.5, -700.25)
    return Volume(hu, affine, "/data/doe_john_1950.nii.gz")


def columns(mask: RegionMask, region: str) -> list[int]:
    return sorted({int(x) for x in np.nonzero(mask.mask(region))[0]})


def tool(python: str, weights: Path, **options: Any) -> Any:
    return plugins.resolve("segmenter", "totalsegmentator", {"python": python, "weights": str(weights), **options})


def fault(*args: Any, volume: Volume | None = None, **options: Any) -> str:
    with pytest.raises(UserError) as caught:
        tool(*args, **options).segment(volume or body(at1=5))
    assert "\n" not in str(caught.value) and caught.value.fix
    return str(caught.value)


def test_classes_become_regions_on_the_scans_grid(python: str, weights: Path, log: Any) -> None:
    part = tool(python, weights)
    mask = part.segment(body(at0=1, at2=5, at4=51, at6=16, at8=90, at9=99))
    assert mask.given == part.regions == set(REGIONS) - {"breast"}
    assert {r: columns(mask, r) for r in mask.present()} == {"abdomen": [0, 2], "heart": [4], AIRWAY: [6]}
    assert mask.missing()["thyroid"] == "not in the field of view"
    assert mask.missing()["breast"] == "this segmenter can't give it"
    assert "total.nii: labels without a name were left out: new_class" in mask.notes
    assert "breast: not given by total (task breasts)" in mask.notes
    assert any("great vessels only" in note for note in mask.notes)
    assert mask.notes[-1].startswith("made by TotalSegmentator 2.99, total (Apache-2.0, its openly available tasks")


def test_what_the_package_is_asked(python: str, weights: Path, log: Any) -> None:
    part = tool(python, weights, fast=True, tasks="total, breasts", device="cuda:1")
    part.segment(body(at1=6))
    part.segment(body(at1=6))
    total, breasts, again, _ = log()
    assert (total["task"], total["fast"], breasts["task"], breasts["fast"]) == ("total", True, "breasts", False)
    for call in (total, breasts, again):
        assert call["ml"] and call["quiet"] and call["output"] is None and call["saving"] == 1 and call["device"] == "gpu:1"
        assert call["stats"] is False and call["weights"] == str(weights) and call["dtype"] == "int16"
        assert call["codes"] == [1, 1] and "doe" not in call["input"] + call["descrip"] + str(call["folder"])
        assert "download=true" in call["reach"] and "download=true" in call["connect"], "no other machine is reached"
        assert not Path(call["input"]).exists(), "the scan's copy is gone"
        assert ".totalsegmentator" not in call["home"]
    assert total["folder"] == ["ct.nii"] and total["pid"] == again["pid"], "the package is started once"


def test_further_tasks_give_more(python: str, weights: Path, log: Any) -> None:
    tasks = ["total", "breasts", "trunk_cavities", "lung_vessels", "pleural_pericard_effusion"]
    part = tool(python, weights, tasks=tasks)
    mask = part.segment(body(at1=1, at2=2, at3=3, at4=4, at10=10))
    assert mask.given == part.regions == set(REGIONS)
    assert columns(mask, "breast") == [1] and columns(mask, "mediastinum") == [4]
    assert columns(mask, "abdomen") == [1] and columns(mask, "heart") == [3], "spleen and cavity; pericardium and its effusion"
    assert columns(mask, AIRWAY) == [2], "the old name of the airway"
    assert 2 in columns(mask, "pleura") and {9, 11} <= set(columns(mask, "pleura")), "effusion, and the shell round the lung"
    assert not any("great vessels" in n or "not given" in n or "aren't followed" in n for n in mask.notes)
    assert tool(python, weights, tasks="total").fingerprint != part.fingerprint
    assert tool(python, weights, tasks="breasts").regions == {"breast"}


def test_what_a_release_has_no_class_for_isnt_given(python: str, weights: Path, log: Any, tmp_path: Path) -> None:
    file = tmp_path / "packages" / "totalsegmentator" / "map_to_binary.py"
    file.write_text(file.read_text().replace("thyroid_gland", "breast"))
    mask = tool(python, weights).segment(body(at1=5, at2=17))
    assert mask.missing()["thyroid"] == mask.missing()["breast"] == "this segmenter can't give it"
    assert "thyroid: TotalSegmentator 2.99 has no class for it" in mask.notes and columns(mask, "abdomen") == [1]


def test_the_aorta_is_parted(python: str, weights: Path, log: Any) -> None:
    volume = body(at5=52)
    hu = volume.hu.copy()
    hu[7, :, 3:5] = 32
    mask = tool(python, weights).segment(Volume(hu, volume.affine))
    assert mask.mask("mediastinum")[5, :, 3:].all() and mask.mask("abdomen")[5, :, :3].all()
    assert not mask.mask("mediastinum")[..., :3].any() and columns(mask, "bone") == [7]


def test_download_lets_it_reach_out_and_wants_no_weights(python: str, tmp_path: Path, log: Any) -> None:
    tool(python, tmp_path / "none", download=True).segment(body(at1=6))
    assert "download=true" not in log()[0]["reach"] + log()[0]["connect"] and log()[0]["stats"] is False


def test_this_pythons_package_is_used_where_it_is_installed(
    python: str, weights: Path, log: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TOTALSEG_WEIGHTS_PATH", str(weights))
    monkeypatch.setenv("REG2RG_TOTALSEGMENTATOR_PYTHON", python)
    assert TotalSegmentator().version == "2.99"
    monkeypatch.delenv("REG2RG_TOTALSEGMENTATOR_PYTHON")
    monkeypatch.syspath_prepend(str(tmp_path / "packages"))
    monkeypatch.setenv("PYTHONPATH", str(tmp_path / "packages"))
    assert TotalSegmentator().segment(body(at1=5)).present() == ("abdomen",)


def test_it_keeps_the_contract(python: str, weights: Path, log: Any) -> None:
    verdict = conform("segmenter", "totalsegmentator", {"python": python, "weights": str(weights)})
    assert verdict.passed, str(verdict)


# --- what is missing, and what fails -----------------------------------------------------------------------------------


def test_without_the_package_it_says_how_to_get_it(weights: Path, log: Any) -> None:
    with pytest.raises(UserError) as caught:
        TotalSegmentator(weights=weights)
    assert "isn't installed beside reg2rg" in str(caught.value) and "pip install TotalSegmentator" in str(caught.value)
    assert "this Python doesn't have TotalSegmentator" in fault(sys.executable, weights)
    assert "can't be started (No such file" in fault("/nowhere/python", weights)


def test_missing_weights_are_named_with_their_task_and_command(python: str, weights: Path, log: Any) -> None:
    (weights / "Dataset293_name").rmdir()
    said = fault(python, weights)
    assert "weights of TotalSegmentator's task 'total' are missing (Dataset293_…)" in said
    assert f"TOTALSEG_WEIGHTS_PATH={weights} totalseg_download_weights -t total;" in said
    tool(python, weights, fast=True)
    (weights / "Dataset297_name").rmdir()
    assert "-t total_fast;" in fault(python, weights, fast=True)
    tool(python, weights, tasks="lung_vessels")  # the model of 6 mm finds the lungs too
    (weights / "Dataset298_name").rmdir()
    assert "'lung_vessels' are missing (Dataset297_… or Dataset298_…)" in fault(python, weights, tasks="lung_vessels")
    assert "'breasts' are missing" in fault(python, weights / "none", tasks="breasts")


@pytest.mark.parametrize(
    "options, said",
    [
        ({"tasks": "heartchambers_highres"}, "wants a licence of TotalSegmentator's authors"),
        ({"tasks": "breast"}, "no task that tells regions is called 'breast'. Did you mean 'breasts'?"),
        ({"tasks": []}, "no task is named"),
        ({"device": "tpu"}, "the device 'tpu' is unknown"),
        ({"device": "cpu:1"}, "the device 'cpu:1' is unknown"),
    ],
    ids=["licensed", "unknown", "none", "device", "number"],
)
def test_faulty_options(python: str, weights: Path, log: Any, options: dict[str, Any], said: str) -> None:
    assert said in fault(python, weights, **options)


@pytest.mark.parametrize(
    "value, said",
    [
        (1001, "TotalSegmentator failed in its Python (RuntimeError: CUDA error: no kernel image)"),
        (1002, "TotalSegmentator failed in its Python (SystemExit: 1)"),
        (1003, "it ended with code 9, last saying: If you use"),
        (1006, "it wanted to fetch weights from weights.invalid, which it doesn't find; --set download=true lets it"),
        (1004, "gave a label map on another grid than the scan's"),
        (1005, "label map can't be used: it lies 3.00 mm off the volume's grid"),
    ],
    ids=["error", "exit", "killed", "offline", "grid", "shifted"],
)
def test_its_failures_are_told_in_a_sentence_and_it_starts_anew(
    python: str, weights: Path, log: Any, value: int, said: str
) -> None:
    part = tool(python, weights)
    with pytest.raises(UserError) as caught:
        part.segment(body(at1=5, at2=value))
    assert said in str(caught.value) and "\n" not in str(caught.value) and caught.value.fix
    assert part.segment(body(at1=5)).present() == ("abdomen",)
    assert not any(Path(call["input"]).parent.exists() for call in log())


def test_preprocess_with_it(python: str, weights: Path, log: Any, tmp_path: Path, reg2rg: Run) -> None:
    hu = np.full((32, 32, 24), -1000)
    hu[8:24, 8:24] = np.where(np.arange(24) < 6, 5, 51)
    hu[8:24, 4:8] = 700
    nib.save(nib.Nifti1Image(hu.astype(np.int16), np.diag([8.0, 8.0, 10.0, 1.0])), tmp_path / "scan.nii.gz")
    environment = {"REG2RG_TOTALSEGMENTATOR_PYTHON": python, "TOTALSEG_WEIGHTS_PATH": str(weights)}
    done = reg2rg(
        "preprocess", tmp_path / "scan.nii.gz", "--out", tmp_path / "store", "--segmenter", "totalsegmentator",
        "--set", "device=cpu", "--workers", 1, "--json", env=environment,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert list((tmp_path / "store" / "studies").glob("*.h5"))
    assert {call["device"] for call in log()} == {"cpu"}


def test_the_licence_is_shown(reg2rg: Run) -> None:
    done = reg2rg("plugins", "show", "totalsegmentator")
    assert done.returncode == 0
    for said in ("Licence: TotalSegmentator's code and the tasks above are Apache-2.0", "never run", "10.1148/ryai.230024"):
        assert said in " ".join(done.stdout.split())
