"""Small made-up scans in every format that the readers know; nothing here stems from a patient."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np


def hu_array(shape: tuple[int, int, int] = (20, 24, 12), seed: int = 0) -> np.ndarray:
    """Int16 HU with air, soft tissue and something dense; no two voxels of a column alike."""
    rng = np.random.default_rng(seed)
    array = rng.integers(-1000, -800, shape)
    x, y, z = (n // 4 for n in shape)
    array[x:-x, y:-y, z:-z] = rng.integers(0, 80, array[x:-x, y:-y, z:-z].shape)
    array[x : x + 2, y : y + 2] = rng.integers(500, 900, array[x : x + 2, y : y + 2].shape)
    return array.astype(np.int16)


def ras_affine(spacing: tuple[float, float, float] = (3.0, 2.5, 4.0)) -> np.ndarray:
    """Voxel → RAS mm of a scan stored right, front, up."""
    affine = np.diag([*spacing, 1.0])
    affine[:3, 3] = (-10.0, 20.0, -30.0)
    return affine


def write_nifti(path: Path, array: np.ndarray, affine: np.ndarray | None = None, **header: Any) -> Path:
    """A NIfTI file; `header` sets fields after the affine."""
    import nibabel as nib

    path.parent.mkdir(parents=True, exist_ok=True)
    image = nib.Nifti1Image(array, ras_affine() if affine is None else affine)
    for key, value in header.items():
        image.header[key] = value
    nib.save(image, path)
    return path


def write_bits(path: Path, bits: np.ndarray, affine: np.ndarray | None = None) -> Path:
    """A bit mask of the ten regions."""
    return write_nifti(path, bits.astype(np.uint16), affine)


def write_dicom(
    folder: Path,
    hu: np.ndarray,
    *,
    spacing: tuple[float, float, float] = (2.5, 3.0, 4.0),
    step: Any = None,
    uid: str = "1.2.3",
    names: Any = None,
    intercept: float = -1024.0,
    order: Any = None,
    **fields: Any,
) -> list[Path]:
    """A series of `hu` (columns, rows, slices), one file a slice; `fields` go into every header, None removes one."""
    from pydicom.dataset import Dataset, FileMetaDataset
    from pydicom.uid import CTImageStorage, ExplicitVRLittleEndian

    folder.mkdir(parents=True, exist_ok=True)
    step = np.array([0, 0, spacing[2]]) if step is None else np.asarray(step)
    paths = []
    for k in range(hu.shape[2]):
        data = Dataset()
        data.file_meta = FileMetaDataset()
        data.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
        data.file_meta.MediaStorageSOPClassUID = CTImageStorage
        data.file_meta.MediaStorageSOPInstanceUID = f"{uid}.9.{k + 1}"
        data.SOPClassUID, data.SOPInstanceUID = CTImageStorage, f"{uid}.9.{k + 1}"
        data.SeriesInstanceUID, data.StudyInstanceUID, data.Modality = uid, "1.2.826.77", "CT"
        data.PatientName, data.PatientID, data.PatientBirthDate = "ZEBRA^QUAGGA", "PID4711", "19330303"
        data.AccessionNumber, data.StudyDate, data.InstanceNumber = "ACC0815", "20200202", hu.shape[2] - k
        data.ImageType = ["ORIGINAL", "PRIMARY", "AXIAL"]
        data.Columns, data.Rows = hu.shape[:2]
        data.PixelSpacing = [spacing[1], spacing[0]]
        data.ImageOrientationPatient = [1, 0, 0, 0, 1, 0]
        data.ImagePositionPatient = [float(v) for v in np.array([-30.0, -40.0, -50.0]) + k * step]
        data.SamplesPerPixel, data.PhotometricInterpretation = 1, "MONOCHROME2"
        data.BitsAllocated, data.BitsStored, data.HighBit, data.PixelRepresentation = 16, 16, 15, 1
        data.RescaleSlope, data.RescaleIntercept = 1, intercept
        data.PixelData = (hu[:, :, k].T - int(intercept)).astype("<i2").tobytes()
        for key, value in fields.items():
            if value is None:
                delattr(data, key)
            else:
                setattr(data, key, value)
        name = names(k, data) if names else f"IM{(order[k] if order is not None else k) + 1:04d}"
        data.save_as(folder / name, enforce_file_format=True)
        paths.append(folder / name)
    return paths


def scans(folder: Path, *names: str) -> Path:
    """A folder with a volume of each name."""
    for i, name in enumerate(names):
        write_nifti(folder / f"{name}.nii.gz", hu_array(seed=i))
    return folder
