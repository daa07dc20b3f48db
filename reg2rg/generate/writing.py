"""Reports to files: JSON lines (ours), the published CSV layout, and the prediction file of the VLM3D challenge."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Literal

from ..contracts import GroundedReport
from ..errors import UserError
from ..files import write_text
from ..model.alignment import prefix_text
from ..recipe import Recipe

Format = Literal["jsonl", "csv", "vlm3d"]


class ReportsWriter:
    """Collects reports in `OUT.partial` and gives the finished file its name: a killed run goes on where it stopped.

    `settings` (a JSON-able fingerprint of run, data and decoding) must be the same to go on.
    """

    def __init__(self, path: Path, settings: dict[str, object]) -> None:
        self.path, self.partial = path, path.with_name(path.name + ".partial")
        self.settings = json.loads(json.dumps(settings, default=str))
        path.parent.mkdir(parents=True, exist_ok=True)
        self.done = self._read()

    def _read(self) -> dict[str, GroundedReport]:
        done = {}
        for line in self.partial.read_text(encoding="utf-8").splitlines() if self.partial.is_file() else []:
            try:
                report = GroundedReport.from_json(json.loads(line))
            except (ValueError, UserError):
                break  # the line that was being written when the run was killed
            if json.loads(json.dumps(report.settings, default=str)) != self.settings:
                return {}
            done[report.study] = report
        return done

    def add(self, reports: Iterable[GroundedReport]) -> Iterator[GroundedReport]:
        """Appends reports one by one, so that none is lost; yields them on."""
        with self.partial.open("w", encoding="utf-8") as file:
            for report in self.done.values():
                file.write(json.dumps(report.to_json(), ensure_ascii=False) + "\n")
            for report in reports:
                file.write(json.dumps(report.to_json(), ensure_ascii=False) + "\n")
                file.flush()
                self.done[report.study] = report
                yield report

    def finish(self, order: Sequence[str], recipe: Recipe, form: Format) -> list[GroundedReport]:
        """Writes the file in the order of the studies and sweeps the partial one."""
        reports = [self.done[study] for study in order]
        write_text(self.path, render(reports, recipe, form))
        self.partial.unlink(missing_ok=True)
        return reports


def render(reports: Sequence[GroundedReport], recipe: Recipe, form: Format) -> str:
    """The text of a reports file."""
    if form == "csv":
        return _csv(reports, recipe)
    if form == "vlm3d":
        return _vlm3d(reports)
    return "".join(json.dumps(r.to_json(), ensure_ascii=False) + "\n" for r in reports)


def _csv(reports: Sequence[GroundedReport], recipe: Recipe) -> str:
    """AccNum, GT_combined_report, Pred_combined_report, with prefixes, as the official scripts read them."""
    out = io.StringIO()
    rows = csv.writer(out, lineterminator="\n")
    rows.writerow(["AccNum", "GT_combined_report", "Pred_combined_report"])
    for report in reports:
        truth = "".join(f"{prefix_text(recipe, s.index, s.region)}{s.reference} " for s in report.sections)
        said = "".join(f"{prefix_text(recipe, s.index, s.named)}{s.report} " for s in report.sections)
        rows.writerow([report.study, truth or report.reference, said or report.report])
    return out.getvalue()


def _vlm3d(reports: Sequence[GroundedReport]) -> str:
    rows = [{"input_image_name": f"{r.study}.mha", "report": r.report} for r in reports]
    about = {"name": "Generated reports", "type": "Report generation", "version": {"major": 1, "minor": 0}}
    return json.dumps({**about, "generated_reports": rows}, indent=2, ensure_ascii=False) + "\n"
