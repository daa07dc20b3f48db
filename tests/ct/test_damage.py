"""Bytes overwritten anywhere in any format: a volume or a reason, never a crash and never a screenful."""

from __future__ import annotations

import zipfile
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from samples_ct import hu_array, write_dicom, write_nifti

from reg2rg.ct import read_labels, read_volume
from reg2rg.errors import UserError

NAMES = ("a.nii", "a.nii.gz", "raw.nrrd", "packed.nrrd", "raw.mha", "packed.mha", "series", "series.zip")


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One scan in every format."""
    import SimpleITK as sitk

    folder = tmp_path_factory.mktemp("whole")
    for name in NAMES[:2]:
        write_nifti(folder / name, hu_array())
    image = sitk.GetImageFromArray(np.ascontiguousarray(hu_array().T))
    image.SetSpacing((3.0, 3.0, 4.0))
    for name in NAMES[2:6]:
        sitk.WriteImage(image, str(folder / name), useCompression=name.startswith("packed"))
    with zipfile.ZipFile(folder / "series.zip", "w") as archive:
        for path in write_dicom(folder / "series", hu_array()):
            archive.write(path, path.name)
    return folder


@settings(max_examples=250, deadline=None)
@given(
    name=st.sampled_from(NAMES),
    changes=st.lists(st.tuples(st.integers(0, 900), st.integers(0, 255)), min_size=1, max_size=6),
    which=st.integers(0, 11),
)
def test_damage_gives_a_volume_or_a_reason(
    tmp_path_factory: pytest.TempPathFactory, whole: Path, name: str, changes: list[tuple[int, int]], which: int
) -> None:
    source, place = whole / name, tmp_path_factory.mktemp("d") / name
    files = sorted(source.iterdir()) if source.is_dir() else [source]
    for i, file in enumerate(files):
        raw = bytearray(file.read_bytes())
        for at, value in changes if i == which % len(files) else ():
            raw[at % len(raw)] = value
        copy = place / file.name if source.is_dir() else place
        copy.parent.mkdir(exist_ok=True)
        copy.write_bytes(raw)
    for read in (read_volume, read_labels):
        try:
            read(place)
        except UserError as error:
            assert "\n" not in str(error) and len(str(error)) < 700


def test_a_damaged_slice_is_never_forgotten(tmp_path: Path) -> None:
    """At an end of the stack nothing else would tell of it."""
    paths = write_dicom(tmp_path, hu_array())
    paths[-1].write_bytes(paths[-1].read_bytes()[:200])
    volume = read_volume(tmp_path)
    assert volume.shape == (20, 24, 11)
    assert any("1 damaged DICOM file was left out" in note for note in volume.notes)
    for path in paths[:-1]:
        path.unlink()
    with pytest.raises(UserError, match="damaged"):
        read_volume(tmp_path)


def test_metaimage_parts_that_crash_itk_are_caught_before(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    import SimpleITK as sitk

    image = sitk.GetImageFromArray(np.ascontiguousarray(hu_array().T))
    sitk.WriteImage(image, str(tmp_path / "a.mha"))
    text = (tmp_path / "a.mha").read_bytes()
    for old, new, word in (
        (b"= LOCAL", b'= LOCAL"', "data file is missing"),
        (b"DimSize = 20", b"DimSize = 0", "damaged"),
        (b"DimSize = 20 24", b"DimSize = 20", "don't fit"),
        (b"MET_SHORT", b"MET_SHIRT", "number type"),
        (b"ElementSpacing = 1", b"ElementSpacing = x", "damaged"),
        (b"NDims = 3", b"NDims = three", "damaged"),
        (b"ElementDataFile = LOCAL", b"ElementDataFile = LIST", "several files"),
    ):
        assert old in text
        (tmp_path / "b.mha").write_bytes(text.replace(old, new))
        with pytest.raises(UserError, match=word):
            read_volume(tmp_path / "b.mha")
    assert capfd.readouterr().err == ""
