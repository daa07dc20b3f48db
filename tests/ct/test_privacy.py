"""Planted identifiers must not come out anywhere: not in a store, page, document, log line, failure row or file name."""

from __future__ import annotations

import json
import re
import shutil
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from samples_ct import hu_array, write_dicom
from training import Small

from reg2rg.ct import find_scans, read_volume

Program = Callable[..., tuple[int, str]]
UID = "1.2.826.0.1.3680043.55555.4242"
# names, numbers, dates and UIDs that stand in headers, folders and file names
SECRETS = (
    "ZEBRA", "QUAGGA", "PID4711", "19330303", "1933-03-03", "ACC0815", "20200202", "1.2.826.77", "55555.4242", "OKAPI",
    "GIRAFFE", "Warthog",
)  # fmt: skip


def planted(folder: Path, hu: np.ndarray, uid: str = UID, **fields: Any) -> list[Path]:
    """A series whose every name and free field holds an identifier."""
    return write_dicom(
        folder, hu, uid=uid, names=lambda k, d: f"OKAPI_1933-03-03_{k:03d}.dcm", InstitutionName="Warthog Clinic",
        ReferringPhysicianName="GIRAFFE^A", SeriesDescription="ZEBRA thorax", StudyID="GIRAFFE7", PatientComments="QUAGGA",
        **fields,
    )  # fmt: skip


def leaks(text: str | bytes) -> list[str]:
    data = text.encode() if isinstance(text, str) else text
    return [secret for secret in SECRETS if secret.encode().lower() in data.lower()]


def everything(*folders: Path) -> bytes:
    """All bytes and all names below some folders, compressed pages included as they are."""
    files = [path for folder in folders for path in sorted(folder.rglob("*"))]
    names = "\n".join(str(path.relative_to(folder)) for folder in folders for path in folder.rglob("*"))
    return names.encode() + b"".join(path.read_bytes() for path in files if path.is_file())


@pytest.fixture(scope="module")
def chest(small: Small) -> np.ndarray:
    """A phantom's HU as (columns, rows, slices) of an axial series."""
    return read_volume(sorted(small.data.glob("volumes/**/*.nii.gz"))[0]).hu[::-1, ::-1]


@pytest.fixture
def archive(tmp_path: Path, chest: np.ndarray) -> Path:
    """What a department exports: a good series, a cut one, a localizer, a zip, and damaged files, all named after patients."""
    root = tmp_path / "in"
    planted(root / "ZEBRA_QUAGGA/19330303", chest)
    cut = planted(root / "OKAPI/PID4711", hu_array(), uid=f"{UID}.1")
    cut[4].write_bytes(cut[4].read_bytes()[:-100])
    planted(root / "GIRAFFE", hu_array()[:, :, :1], uid=f"{UID}.2", ImageType=["ORIGINAL", "PRIMARY", "LOCALIZER"])
    planted(root / "GIRAFFE", hu_array(), uid=f"{UID}.3", Modality="ZEBRA")
    zipped = planted(tmp_path / "z", hu_array(seed=3), uid=f"{UID}.4")
    with zipfile.ZipFile(root / "QUAGGA.zip", "w") as file:
        for path in zipped[:-1]:
            file.write(path, f"ZEBRA/{path.name}")
        file.writestr("ZEBRA/OKAPI.dcm", zipped[-1].read_bytes()[:180])
    (root / "OKAPI.dcm").write_bytes(b"no DICOM at all")
    (root / "ACC0815.zip").write_bytes(b"PK\x03\x04 cut")
    shutil.rmtree(tmp_path / "z")
    return root


@pytest.fixture
def program(capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Program:
    """Runs the command line in this process: exit code, and all that it and its workers wrote to the screen."""
    from reg2rg.cli.app import run

    monkeypatch.setenv("REG2RG_SALT", "a salt for tests")

    def call(*arguments: object) -> tuple[int, str]:
        capfd.readouterr()
        try:
            run([str(a) for a in arguments])
            code = 0
        except SystemExit as end:
            code = int(end.code or 0)
        return code, "".join(capfd.readouterr())

    return call


def test_a_store_and_its_logs_hold_no_identifier(archive: Path, tmp_path: Path, program: Program) -> None:
    code, said = program("preprocess", archive, "--out", tmp_path / "store", "--workers", 2)
    assert code == 3, said
    (study,) = (tmp_path / "store/studies").iterdir()
    assert len((tmp_path / "store/failures.csv").read_text().splitlines()) >= 6
    assert leaks(everything(tmp_path / "store")) == [] and leaks(said) == []
    for given in ([archive], [tmp_path / "store"], [tmp_path / "store", "--json"], [study], [study, "--json"]):
        code, said = program("inspect", *given)
        assert code == 0 and said and leaks(said) == []
    code, said = program("view", study, "--out", tmp_path / "out/page.html")
    assert code == 0 and leaks(said) == [] and leaks(everything(tmp_path / "out")) == []


def test_a_report_holds_no_identifier(small: Small, archive: Path, tmp_path: Path, program: Program) -> None:
    """The series is given as a folder of another name: what the user types may be said back to him."""
    (archive / "ZEBRA_QUAGGA/19330303").rename(tmp_path / "scan")
    code, said = program("report", tmp_path / "scan", "--run", small.run, "--out", tmp_path / "out")
    assert code == 0, said
    assert re.fullmatch(r"dicom-[0-9a-f]{16}", json.loads((tmp_path / "out/report.json").read_text())["study"])
    assert leaks(said) == [] and leaks(everything(tmp_path / "out")) == []
    (archive / "OKAPI/PID4711").rename(tmp_path / "cut")
    code, said = program("report", tmp_path / "cut", "--run", small.run, "--out", tmp_path / "no")
    assert code == 1 and "a slice at z" in said
    assert leaks(said) == [] and not (tmp_path / "no").exists()


def test_keep_ids_keeps_the_series_uid_alone(archive: Path, tmp_path: Path, program: Program) -> None:
    code, said = program("preprocess", archive, "--out", tmp_path / "store", "--keep-ids")
    assert code == 3, said
    assert [p.name for p in (tmp_path / "store/studies").iterdir()] == [f"{UID}.h5"]
    assert set(leaks(everything(tmp_path / "store") + said.encode())) == {"55555.4242"}


def test_objects_sent_to_workers_show_no_path(archive: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Schedulers put the arguments of a call that failed into their logs."""
    from reg2rg.data.layouts import discover

    monkeypatch.setenv("REG2RG_SALT", "a salt for tests")
    assert leaks(repr(find_scans(archive))) == [] and leaks(repr(discover(archive))) == []
