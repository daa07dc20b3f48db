"""The grounded page: slices with coloured regions beside the sentences, in one HTML file that works offline.

`write_study_page` shows one study, `write_reports_page` a file of reports with its scores, `write_bench_page` a bench,
`write_grounding_page` a grounding.
"""

from __future__ import annotations

from .grounding import write_grounding_page
from .study import reference_report
from .write import write_bench_page, write_reports_page, write_study_page

__all__ = ["reference_report", "write_bench_page", "write_grounding_page", "write_reports_page", "write_study_page"]
