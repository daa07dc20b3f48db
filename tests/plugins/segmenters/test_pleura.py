"""The shell around the lungs, by its distances to their surface, on fine and on coarse voxels."""

from __future__ import annotations

import numpy as np
import pytest
from reg2rg_plugins.segmenters._pleura import PLEURA_MM, shell
from scipy import ndimage

BALL = np.linalg.norm(np.indices((40, 36, 30)) - np.array([20, 18, 15])[:, None, None, None], axis=0) < 11


@pytest.mark.parametrize("spacing", [(1.0, 1.0, 1.0), (0.71, 0.83, 3.1), (3.0, 3.0, 2.5), (5.0, 5.0, 1.0)])
@pytest.mark.parametrize("voxels", [0.0, 0.99])
def test_it_reaches_so_many_millimetres(spacing: tuple[float, float, float], voxels: float) -> None:
    outside, inside = (ndimage.distance_transform_edt(mask, spacing) for mask in (~BALL, BALL))
    wanted = (outside <= PLEURA_MM[0] + 1e-9) & (inside <= PLEURA_MM[1] + 1e-9)
    assert np.array_equal(shell(BALL, spacing, voxels), wanted)


def test_the_next_voxel_counts_where_voxels_are_wider() -> None:
    spacing = (8.0, 8.0, 8.0)
    assert not shell(BALL, spacing).any() and not shell(BALL, spacing, 0.99).any()
    cross = ndimage.generate_binary_structure(3, 1)
    wanted = ndimage.binary_dilation(BALL, cross) & ~ndimage.binary_erosion(BALL, cross)
    assert np.array_equal(shell(BALL, spacing, 1.01), wanted)


def test_without_a_lung_there_is_none() -> None:
    assert not shell(np.zeros((4, 5, 6), bool), (1.0, 1.0, 1.0), 1.01).any()
