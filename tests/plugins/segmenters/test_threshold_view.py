"""`threshold` and the field of view: on every shared CT no mask where a region isn't in view, and none called absent that is.

Judged by the table of the shared data's README: Y whole, p part, - not in view. Skips where the shared material is absent.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from reg2rg_plugins.segmenters.threshold import Threshold
from scipy import ndimage

from reg2rg.anatomy import REGIONS
from reg2rg.ct import read_volume
from reg2rg.errors import UserError

ABSENT = "not in the field of view"
# one letter a region, in the order of REGIONS: abdomen bone breast esophagus heart lung mediastinum pleura thyroid airway
VIEW = {
    "4dlung-113/ct.nii.gz": "pYYYYYYYpY",
    "cip-chest64/nifti/ct-64.nii.gz": "pYpYYYYYpY",
    "ibsi-ct-phantom/phantom.nii.gz": "pppppppp-p",
    "ts-abdomen/example_ct.nii.gz": "YY---p-p--",
    "ts-abdomen/example_ct_sm.nii.gz": "pp---p-p--",
    "ts-pulmonary-cta/ct.nii.gz": "pppYYpYp-Y",
    "ts-thorax-cta/ct.nii.gz": "pppYYpYp-Y",
}
REFUSED = {"cip-lobes-large/crop_ct_2slices.nrrd": "-ppppppp-p", "ts-abdomen/dicom_j2k": "pp--------"}


def find(shared: Path, name: str) -> Path:
    path = shared / "data" / name
    if not path.exists():
        pytest.skip(f"{name} is absent from the shared material")
    return path


@pytest.mark.parametrize("name", sorted(VIEW))
def test_no_mask_out_of_view_and_no_region_in_view_called_absent(shared: Path, name: str) -> None:
    volume = read_volume(find(shared, name))
    mask = Threshold().segment(volume)
    view = dict(zip(REGIONS, VIEW[name], strict=True))
    present, absent = set(mask.present()), {r for r, why in mask.missing().items() if why == ABSENT}
    assert not present & {r for r, letter in view.items() if letter == "-"}, "a mask of what isn't in view"
    assert not absent & {r for r, letter in view.items() if letter != "-"}, "called absent, but in view"
    assert {"lung", "pleura", "bone", "abdomen"} <= present
    lung = mask.mask("lung")
    labels, _ = ndimage.label(lung[ndimage.find_objects(lung.view(np.int8))[0]])
    large = np.bincount(labels.ravel())[1:] * np.prod(volume.spacing) > 100_000
    assert large.sum() == {"ibsi-ct-phantom/phantom.nii.gz": 1}.get(name, 0 if "abdomen" in name else 2), "the lungs touch"


@pytest.mark.parametrize("name", sorted(REFUSED))
def test_what_shows_too_little_of_the_lungs_is_refused_as_a_whole(shared: Path, name: str) -> None:
    path = find(shared, name)
    with pytest.raises(UserError):
        Threshold().segment(read_volume(path))
