"""A CT on disk → `Volume`: one file per format family, one for orientation, one for Hounsfield units.

`read_volume` for a path, `find_scans` and `read_scan` for a folder full of them, `read_labels` for masks.
"""

from .facts import Facts, plausible
from .image import Image
from .labels import Labels, read_label_map, read_labels
from .orientation import to_ras
from .reading import read_image, read_scan, read_volume
from .scans import Scan, bare_name, find_scans

# Raised when the same file comes to other voxels than before: stores made until then are made again.
READING = 2

__all__ = [
    "READING",
    "Facts",
    "Image",
    "Labels",
    "Scan",
    "bare_name",
    "find_scans",
    "plausible",
    "read_image",
    "read_label_map",
    "read_labels",
    "read_scan",
    "read_volume",
    "to_ras",
]
