"""Made-up DICOM traps: each series reads as the one array that it holds, or is refused for the named reason."""

from __future__ import annotations

import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from samples_ct import hu_array, write_dicom

from reg2rg.ct import find_scans, read_scan, read_volume
from reg2rg.errors import UserError

# pydicom warns while the traps are written
pytestmark = pytest.mark.filterwarnings("ignore::UserWarning")
HU = hu_array()
RIGHT = HU[::-1, ::-1]


@pytest.fixture(autouse=True)
def salted(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("REG2RG_SALT", "a salt for tests")


def edit(paths: list[Path], change: Callable[[int, Any], Any]) -> None:
    from pydicom import dcmread

    for k, path in enumerate(paths):
        data = dcmread(path)
        change(k, data)
        data.save_as(path)


def each(change: Callable[[int, Any], Any]) -> Callable[[Path], None]:
    """A series whose headers are changed slice by slice."""
    return lambda folder: edit(write_dicom(folder, HU), change)


def with_fields(**fields: Any) -> Callable[[Path], None]:
    return lambda folder: void(write_dicom(folder, HU, **fields))


def void(_: object) -> None:
    return None


def setting(**fields: Callable[[int], Any]) -> Callable[[Path], None]:
    def change(k: int, data: Any) -> None:
        for key, value in fields.items():
            setattr(data, key, value(k))

    return each(change)


def syntax(name: str) -> Callable[[Path], None]:
    """The series in another transfer syntax."""

    def make(folder: Path) -> None:
        from pydicom import dcmread, dcmwrite, uid
        from pydicom.filebase import DicomBytesIO
        from pydicom.filewriter import write_dataset

        for path in write_dicom(folder, HU):
            data = dcmread(path)
            if name == "implicit, no preamble":
                del data.file_meta
                buffer = DicomBytesIO()
                buffer.is_little_endian, buffer.is_implicit_VR = True, True
                write_dataset(buffer, data)
                path.write_bytes(buffer.getvalue())
                continue
            data.file_meta.TransferSyntaxUID = getattr(uid, name)
            if name == "ExplicitVRBigEndian":
                data.PixelData = np.frombuffer(data.PixelData, "<i2").astype(">i2").tobytes()
                dcmwrite(path, data, implicit_vr=False, little_endian=False, enforce_file_format=True)
            else:
                data.save_as(path, enforce_file_format=True)

    return make


def slope_per_slice(k: int, data: Any) -> None:
    """Slope 1 and 1/2 by turns, so that one slope for all would be seen."""
    data.RescaleSlope = "1" if k % 2 else "0.5"
    data.PixelData = ((HU[:, :, k].T.astype(int) + 1024) * (1 if k % 2 else 2)).astype("<i2").tobytes()


def without_rescale(k: int, data: Any) -> None:
    if k == 5:
        del data.RescaleSlope, data.RescaleIntercept


def eight_bits(k: int, data: Any) -> None:
    data.BitsAllocated, data.BitsStored, data.HighBit, data.PixelRepresentation = 8, 8, 7, 0
    data.PixelData = ((HU[:, :, k].T + 1024) // 8).clip(0, 255).astype(np.uint8).tobytes()


def second_stack(number: str = "", offset: float = 2.0, **fields: Any) -> Callable[[Path], None]:
    """Another phase of the same series between the slices of the first, or on them."""

    def name(k: int, data: Any) -> str:
        data.SOPInstanceUID = f"1.2.3.8.{k}"
        data.ImagePositionPatient = [-30, -40, -50 + offset + 4 * k]
        if number:
            data.AcquisitionNumber = number
        return f"I{k + 100}"

    def make(folder: Path) -> None:
        write_dicom(folder, HU, AcquisitionNumber="1", **fields)
        write_dicom(folder, hu_array(seed=4), names=name, AcquisitionNumber="1")

    return make


def beside(**change: Any) -> Callable[[Path], None]:
    """One more object in the series: None removes a field."""

    def name(k: int, data: Any) -> str:
        data.SOPInstanceUID = "1.2.3.7"
        for key, value in change.items():
            delattr(data, key) if value is None else setattr(data, key, value)
        return "I999"

    def make(folder: Path) -> None:
        write_dicom(folder, HU)
        write_dicom(folder, HU[:, :, :1], names=name)

    return make


NO_IMAGE = {"PixelData": None, "Rows": None, "Columns": None, "ImagePositionPatient": None, "ImageOrientationPatient": None}
NO_PLACE = {"ImagePositionPatient": None, "ImageOrientationPatient": None}
SHIFTED = {"step": [1.2, 0, 4.0]}

# what is made, what must be noted, what must be refused
SERIES: dict[str, tuple[Callable[[Path], None], str, str]] = {
    "explicit big-endian": (syntax("ExplicitVRBigEndian"), "", ""),
    "deflated": (syntax("DeflatedExplicitVRLittleEndian"), "", ""),
    "implicit, no preamble": (syntax("implicit, no preamble"), "", ""),
    "a slope for each slice": (each(slope_per_slice), "", ""),
    "slope 0": (with_fields(RescaleSlope=0), "", "rescale is broken"),
    "eight bits of a window": (each(eight_bits), "", "aren't Hounsfield units"),
    "the offset lost": (lambda f: void(write_dicom(f, HU + 1024, intercept=0)), "", "offset of -1024 was lost"),
    "rescaled twice": (lambda f: void(write_dicom(f, np.where(HU > 300, 2500, HU) - 1024)), "", "rescaled twice"),
    "rescaled to nothing known": (with_fields(RescaleType="US"), "", ""),
    "rescaled to atomic numbers": (with_fields(RescaleType="Z_EFF"), "", "another unit than HU (Z_EFF)"),
    "rescaled to a sentence": (with_fields(RescaleType="ZEBRA"), "", "another unit than HU"),
    "twice the distance that it says": (with_fields(SpacingBetweenSlices=2), "SpacingBetweenSlices says 2 mm", ""),
    "twice as far as thick": (with_fields(SliceThickness=2), "4 mm apart and are 2 mm thick", ""),
    "every second number": (setting(InstanceNumber=lambda k: 1 + 2 * k), "numbered in steps of 2", ""),
    "numbered downwards": (setting(InstanceNumber=lambda k: 40 - k), "", ""),
    "all of one number": (setting(InstanceNumber=lambda k: 1), "", ""),
    "one slice without a rescale": (each(without_rescale), "", "without a rescale that the others have"),
    "thicker than far": (with_fields(SliceThickness=5), "", ""),
    "ever wider gaps": (setting(ImagePositionPatient=lambda k: [-30, -40, -50 + 4 * k + 0.1 * k * k]), "", "unevenly spaced"),
    "two halves of two spacings": (
        setting(ImagePositionPatient=lambda k: [-30, -40, -50 + 4 * k + max(0, k - 6) * 1.0]), "", "unevenly spaced",
    ),
    "tilted sideways": (with_fields(**SHIFTED), "", "tilted by 16.7°"),
    "two phases between each other": (second_stack("2"), "", "2 stacks alternate in it (told apart by AcquisitionNumber)"),
    "two phases on each other": (second_stack("2", 0.0), "", "told apart by AcquisitionNumber"),
    "two phases, nothing told": (second_stack("", 0.0), "", "lie at one position and differ"),
    "one acquisition after the other": (setting(AcquisitionNumber=lambda k: 1 + k // 6), "", ""),
    "each slice an acquisition": (setting(AcquisitionNumber=lambda k: 40 - k), "", ""),
    "two patients": (setting(PatientID=lambda k: f"PID{k // 6}"), "", "different patients"),
    "two frames of reference": (setting(FrameOfReferenceUID=lambda k: f"1.2.{k // 6}"), "", "frames of reference"),
    "compressed with losses": (with_fields(LossyImageCompression="01"), "compressed with losses", ""),
    "names in two scripts": (
        with_fields(PatientName="Müller^Jürgen=山田^太郎", SpecificCharacterSet="ISO_IR 192", PatientID="ß" * 64), "", "",
    ),
    "identifiers of 64 characters": (lambda f: void(write_dicom(f, HU, uid="1.2." + "3" * 55)), "", ""),
    "a dose report": (
        beside(Modality="SR", SOPClassUID="1.2.840.10008.5.1.4.1.1.88.67", **NO_IMAGE), "1 file without an image", "",
    ),
    "a presentation state": (
        beside(Modality="PR", SOPClassUID="1.2.840.10008.5.1.4.1.1.11.1", **NO_IMAGE), "1 file without an image", "",
    ),
    "a screenshot": (beside(SOPClassUID="1.2.840.10008.5.1.4.1.1.7", **NO_PLACE), "1 file with a secondary capture", ""),
    "a slice without a place": (beside(**NO_PLACE), "", "without ImagePositionPatient"),
    "a localizer across": (
        beside(ImageType=["ORIGINAL", "PRIMARY", "LOCALIZER"], ImageOrientationPatient=[1, 0, 0, 0, 0, -1]),
        "1 file with a localizer", "",
    ),
    "a scout that doesn't say so": (beside(ImageOrientationPatient=[1, 0, 0, 0, 0, -1]), "another matrix or orientation", ""),
    "a PET between": (beside(Modality="PT"), "", "CT and PT"),
    "an MR that says CT": (with_fields(SOPClassUID="1.2.840.10008.5.1.4.1.1.4"), "", "modality is MR"),
    "a name as modality": (with_fields(Modality="ZEBRA QUAGGA"), "", "modality is unknown"),
    "pixels of zero width": (with_fields(PixelSpacing=[3.0, 0.0]), "", "without PixelSpacing"),
    "60,000 rows": (with_fields(Rows=60000, Columns=60000), "", "more than any chest CT"),
    "an empty file between": (lambda f: void(write_dicom(f, HU)[4].write_bytes(b"")), "", "gap of 8.000 mm"),
}  # fmt: skip


@pytest.mark.parametrize("name", SERIES)
def test_series_read_right_or_say_why_not(tmp_path: Path, name: str, capfd: pytest.CaptureFixture[str]) -> None:
    make, noted, refused = SERIES[name]
    make(tmp_path / "s")
    if refused:
        with pytest.raises(UserError) as caught:
            read_volume(tmp_path / "s")
        assert refused in caught.value.what and caught.value.fix
        assert not any(secret in str(caught.value) for secret in ("ZEBRA", "QUAGGA", "PID", "1.2.3"))
    else:
        volume = read_volume(tmp_path / "s")
        assert np.array_equal(volume.hu, RIGHT)
        said = [note for note in volume.notes if "turned to RAS" not in note]
        assert noted in " ".join(said) and bool(said) == bool(noted)
    assert capfd.readouterr().err == ""


# the padding's HU, the intercept, what the header says of it
PADDING: dict[str, tuple[int, float, dict[str, Any]]] = {
    "far below air": (-3024, -1024, {"PixelPaddingValue": -2000}),
    "in no header": (-2000, -1024, {}),
    "as water": (0, 0, {"PixelPaddingValue": 0}),
    "a range up to water": (20, 0, {"PixelPaddingValue": 10, "PixelPaddingRangeLimit": 30}),
}


@pytest.mark.parametrize("name", PADDING)
def test_padding_is_air_whatever_its_number(tmp_path: Path, name: str) -> None:
    """Only what hangs together with the rim: the same number inside the body is tissue."""
    hu, intercept, fields = PADDING[name]
    array = HU.copy()
    array[array == hu] += 1
    array[:3], array[10, 12] = hu, hu
    write_dicom(tmp_path, array, intercept=intercept, **fields)
    volume = read_volume(tmp_path)
    assert (volume.hu[-3:] == -1024).all() and any("padding" in note for note in volume.notes)
    assert np.array_equal(volume.hu[:9], array[::-1, ::-1][:9])
    inside = volume.hu[9, 11]
    assert (inside == (hu if hu > -1024 else -1024)).all()


@pytest.mark.parametrize("kind, value, signed", [("US", 63536, 1), ("SS", -2000, 0), ("SS", -2000, 1), ("US", 0, 0)])
def test_padding_s_signedness_is_the_pixels(tmp_path: Path, kind: str, value: int, signed: int) -> None:
    """Writers give the value in either, under either pixels."""
    from reg2rg.ct import pixels

    stored = (-2000 if signed else 63536) if value else 0
    array = np.where(HU == 0, 1, HU).astype(np.int16)
    array[:3] = 0
    paths = write_dicom(tmp_path, array, intercept=0, PixelRepresentation=signed)

    def change(k: int, data: Any) -> None:
        data.add_new(0x00280120, kind, value)
        data.RescaleIntercept = -stored
        raw = (array[:, :, k].T.astype(int) + stored) % 65536
        data.PixelData = raw.astype("<u2").tobytes()

    edit(paths, change)
    (scan,) = find_scans(tmp_path)
    found = pixels.decode(scan_slices(scan)[5])
    assert found.padding is not None and found.padding[:, :3].all() and not found.padding[:, 3:].any()


def scan_slices(scan: Any) -> list[Any]:
    from reg2rg.ct import scans

    return [scans.slice_of(path) for path in scan.files]


def test_padding_in_an_implicit_syntax_is_understood(tmp_path: Path) -> None:
    """There the value's signedness isn't told."""
    array = HU.copy()
    array[array == 0] = 1
    array[:3] = 0
    write_dicom(tmp_path / "a", array, intercept=0, PixelPaddingValue=0)
    from pydicom import dcmread, uid

    for path in sorted((tmp_path / "a").iterdir()):
        data = dcmread(path)
        data.file_meta.TransferSyntaxUID = uid.ImplicitVRLittleEndian
        data.save_as(path, implicit_vr=True, little_endian=True)
    assert (read_volume(tmp_path / "a").hu[-3:] == -1024).all()


# --- enhanced CT -----------------------------------------------------------------------------------------------------


def enhanced(path: Path, *, places: bool = True, frames: int = 12, packed: bool = False, **parts: Any) -> Path:
    """One multi-frame object of `HU`, its frames in a mixed order."""
    from pydicom import dcmread
    from pydicom.dataset import Dataset
    from pydicom.sequence import Sequence
    from pydicom.uid import EnhancedCTImageStorage, RLELossless

    def group(**fields: Any) -> Any:
        item = Dataset()
        for key, value in fields.items():
            setattr(item, key, value)
        return Sequence([item])

    (source,) = write_dicom(path.parent / "one", HU[:, :, :1])
    data = dcmread(source)
    source.unlink()
    data.SOPClassUID = data.file_meta.MediaStorageSOPClassUID = EnhancedCTImageStorage
    for key in ("ImagePositionPatient", "ImageOrientationPatient", "PixelSpacing", "RescaleSlope", "RescaleIntercept"):
        delattr(data, key)
    order = [int(k) for k in np.random.default_rng(0).permutation(12)]
    data.NumberOfFrames = frames
    data.PixelData = b"".join((HU[:, :, k].T + 1024).astype("<i2").tobytes() for k in order)
    data.SharedFunctionalGroupsSequence = group(
        PixelMeasuresSequence=group(PixelSpacing=[3.0, 2.5], SliceThickness=4),
        PlaneOrientationSequence=group(ImageOrientationPatient=[1, 0, 0, 0, 1, 0]),
        PixelValueTransformationSequence=group(RescaleSlope=1, RescaleIntercept=-1024, RescaleType="HU"),
    )
    if places:
        data.PerFrameFunctionalGroupsSequence = Sequence(
            group(
                PlanePositionSequence=group(ImagePositionPatient=[-30, -40, -50 + 4 * k]),
                FrameContentSequence=group(**{key: value(k) for key, value in parts.items()}),
            )[0]
            for k in order
        )
    if packed:
        data.compress(RLELossless)
    data.save_as(path, enforce_file_format=True)
    return path


@pytest.mark.parametrize("packed", [False, True])
def test_an_enhanced_ct_reads_frame_by_frame(tmp_path: Path, packed: bool) -> None:
    path = enhanced(tmp_path / "ZEBRA.dcm", packed=packed)
    for place in (path, tmp_path):
        volume = read_volume(place)
        assert np.array_equal(volume.hu, RIGHT) and volume.spacing == pytest.approx((2.5, 3.0, 4.0))
        assert "ZEBRA" not in f"{volume.source}{volume.notes}"
    (scan,) = find_scans(tmp_path)
    assert np.array_equal(read_scan(scan).hu, RIGHT) and scan.label == "a DICOM series of 1 file"


def test_frames_that_can_t_be_placed_are_refused(tmp_path: Path) -> None:
    for fields, words in (
        ({"places": False}, "without a place for each frame"),
        ({"frames": 11}, "without a place for each frame"),
        ({"frames": 1_000_000}, "no CT does"),
        ({"TemporalPositionIndex": lambda k: 1 + k % 2}, "2 stacks alternate"),
    ):
        enhanced(tmp_path / "a.dcm", **fields)
        with pytest.raises(UserError, match=words):
            read_volume(tmp_path)


# --- ids and names ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("uid", ["../../evil", "/evil", "ZEBRA QUAGGA", "1.2\\3"])
def test_what_is_no_uid_is_never_an_id(tmp_path: Path, uid: str) -> None:
    """`keep_ids` makes it a file's name in the store."""
    write_dicom(tmp_path, HU, uid=uid)
    (scan,) = find_scans(tmp_path, keep_ids=True)
    assert scan.id.startswith("dicom-") and len(scan.id) == 22


def test_a_uid_of_64_characters_can_be_kept(tmp_path: Path) -> None:
    write_dicom(tmp_path, HU, uid="1.2." + "3" * 60)
    assert [len(scan.id) for scan in find_scans(tmp_path, keep_ids=True)] == [64]


NAMES = {
    "IM0004": True, "IMG0006.dcm": True, "z97_00": True, "1-012.dcm": True, "slice_3_copy.dcm": True, "CT000123.dcm": True,
    "MEIER_0004.dcm": False, "1933-03-03.dcm": False, "00512345": False, "20200202": False, "CT.1.2.840.7.dcm": False,
    "J.S.1.dcm": False, "山田4.dcm": False,
}  # fmt: skip


@pytest.mark.parametrize("name", NAMES)
def test_only_plain_counters_are_said_as_file_names(tmp_path: Path, name: str) -> None:
    """A de-identified header doesn't tell that the file is still called after its patient."""
    paths = write_dicom(tmp_path, HU, PatientName="ANON", PatientID="", PatientBirthDate="", AccessionNumber="", StudyDate="")
    paths[3].write_bytes(paths[3].read_bytes()[:-100])
    paths[3].rename(tmp_path / name)
    with pytest.raises(UserError) as caught:
        read_volume(tmp_path)
    assert caught.value.what.startswith(f"{name}: " if NAMES[name] else "a slice at z -38.000: ")


def test_damaged_members_of_a_zip_are_refused_one_by_one(tmp_path: Path) -> None:
    paths = write_dicom(tmp_path / "s", HU)
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as archive:
        for path in paths[:-1]:
            archive.write(path, path.name)
        archive.writestr("ZEBRA.dcm", paths[-1].read_bytes()[:200])
    scans = find_scans(tmp_path / "a.zip")
    assert [len(scan.members) for scan in sorted(scans, key=lambda s: len(s.members))] == [1, 11]
    assert "ZEBRA" not in repr(scans)
