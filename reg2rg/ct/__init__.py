"""A CT on disk → `Volume`: one file per format family, one for orientation, one for Hounsfield units.

`read_volume` for a path, `find_scans` and `read_scan` for a folder full of them, `read_labels` for masks.
"""

from .image import Image
from .labels import Labels, read_label_map, read_labels
from .orientation import to_ras
from .reading import read_image, read_scan, read_volume
from .scans import Scan, bare_name, find_scans

__all__ = [
    "Image",
    "Labels",
    "Scan",
    "bare_name",
    "find_scans",
    "read_image",
    "read_label_map",
    "read_labels",
    "read_scan",
    "read_volume",
    "to_ras",
]
