"""The contact sheet at the command line: `preprocess` leaves it, `view STORE/qc.csv` writes it anywhere."""

from __future__ import annotations

import re
import subprocess
from collections.abc import Callable
from pathlib import Path

import numpy as np
from samples_ct import write_bits, write_nifti

from reg2rg.phantom import write_phantom
from reg2rg.preprocess import read_table

Run = Callable[..., "subprocess.CompletedProcess[str]"]


def mirror(data: Path, id: str) -> None:
    """Mirrors one study's scan and masks, as a wrong header does."""
    import nibabel as nib

    for path, write in (
        (next(data.rglob(f"volumes/**/{id}.nii.gz")), write_nifti),
        (data / f"masks/seg_{id}.nii.gz", write_bits),
    ):
        image = nib.load(path)
        write(path, np.asarray(image.dataobj)[::-1], image.affine)


def test_a_mirrored_study_is_told_and_shown(tmp_path: Path, reg2rg: Run) -> None:
    data, store = tmp_path / "data", tmp_path / "store"
    write_phantom(data, studies=4, seed=3, size="small", masks="bits", workers=1)
    ids = sorted(path.name.removesuffix(".nii.gz") for path in data.rglob("volumes/**/*.nii.gz"))
    mirror(data, ids[1])
    (data / f"masks/seg_{ids[2]}.nii.gz").unlink()

    done = reg2rg("preprocess", data, "--out", store, "--segmenter", "precomputed", "--workers", "1", "--json")
    assert done.returncode == 3, done.stderr
    assert f"Quality control flagged 1 of 3 stored studies: {store / 'qc.html'}" in done.stderr
    assert {row["study"]: row["flags"] for row in read_table(store)} == {ids[0]: "", ids[1]: "mirrored", ids[3]: ""}
    page = (store / "qc.html").read_text()
    assert re.findall(r'data-id="([^"]*)"', page) == [ids[1], ids[0], ids[3]] and page.count("data:image/png") == 3
    assert str(tmp_path) not in page

    copy = tmp_path / "sheet.html"
    done = reg2rg("view", store / "qc.csv", "--out", copy, "--title", "My data")
    assert done.returncode == 0 and "contact sheet" in done.stdout + done.stderr
    assert copy.read_text() == page.replace("Quality control</", "My data</")

    done = reg2rg("view", store / "qc.csv", "--out", copy, "--split", "nights")
    assert done.returncode == 1 and "no study of the table is in the split 'nights'" in done.stderr


def test_the_last_part_of_an_array_writes_the_sheet(tmp_path: Path, reg2rg: Run) -> None:
    data, store = tmp_path / "data", tmp_path / "store"
    write_phantom(data, studies=2, seed=3, size="small", masks="bits", workers=1)
    for part, there in (("2/2", False), ("1/2", True)):
        done = reg2rg("preprocess", data, "--out", store, "--segmenter", "precomputed", "--workers", "1", "--shard", part)
        assert done.returncode == 0, done.stderr
        assert ((store / "qc.html").is_file(), "Quality control" in done.stderr) == (there, there)
    assert len(read_table(store)) == 2
