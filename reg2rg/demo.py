"""The demo: phantom → preprocess → pretrain → train → generate → evaluate → page, each step as its command would do it.

Training sees the train split, the encoder is checked on the validation split, scores are of the test split.
"""

from __future__ import annotations

import dataclasses
import json
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from . import recipe as recipes
from .contracts import GroundedReport
from .data.dataset import open_views
from .data.store import Store
from .errors import EXIT_USAGE, UserError
from .evaluate import evaluate, floors
from .files import write_text
from .generate.decoding import generate
from .generate.writing import Format, ReportsWriter
from .model.samples import Samples
from .page import write_reports_page
from .phantom import plan_study, sentences, write_phantom
from .pipeline import Reg2RG
from .preprocess import preprocess
from .progress import Progress, silent
from .recipe import Recipe
from .shares import cores
from .train import checkpoint
from .train.loop import train
from .train.pretrain import pretrain

NOTES = (
    "The studies are procedural phantoms (profile demo: fixed order of findings, one wording a study, easy contrasts), "
    "no patients. Not for clinical use.",
    "The volume encoder was first trained on the finding labels of the train split and then frozen, in the place of the "
    "paper's pretrained RadFM encoder.",
)


def splits(studies: int) -> tuple[int, int, int]:
    """Studies for training, validation and test: at most 50 and 100 for the latter two."""
    test, valid = min(100, max(1, studies // 6)), min(50, max(1, studies // 12))
    return studies - valid - test, valid, test


def phantom_store(
    out: Path,
    studies: tuple[int, int, int],
    seed: int,
    profile: Any = "demo",
    progress: Progress = silent,
    workers: int | None = None,
) -> Store:
    """A phantom data set in `out/data` and its store in `out/store`; what is there already is kept."""
    write_phantom(
        out / "data", studies=sum(studies), seed=seed, split=studies, profile=profile, workers=workers, progress=progress
    )
    summary = preprocess(out / "data", out / "store", segmenter="precomputed", workers=workers or cores(), progress=progress)
    if summary.refused:
        raise UserError(f"{summary.refused} of the phantom's studies were refused", out / "store" / "failures.csv")
    return Store(out / "store")


def demo(
    out: Path, *, seed: int = 0, studies: int = 950, sets: Sequence[str] = (), progress: Progress = silent
) -> dict[str, Any]:
    """Runs everything into the folder `out` and gives the summary: scores beside floors and ceiling, seconds, the page.

    `sets` are KEY=VALUE changes of the recipe `tiny`. The same command goes on where it was interrupted. Raises UserError for
    fewer than 24 studies.
    """
    if studies < 24:
        raise UserError(f"{studies} studies are too few for three splits", "--studies", "Give at least 24.", EXIT_USAGE)
    started = time.monotonic()
    seconds: dict[str, float] = {}
    recipe = recipes.load("tiny", {"training": {"seed": seed}}, sets)

    def lap(name: str) -> None:
        seconds[name] = round(time.monotonic() - started - sum(seconds.values()), 1)

    store = phantom_store(out, splits(studies), seed, progress=progress)
    lap("data")
    run_recipe(recipe, store, out / "run", out / "encoder", seed=seed, progress=progress)
    lap("training")
    model = Reg2RG.from_pretrained(out / "run")
    reports = generate_split(model, store, out / "reports.jsonl", changes={"shuffle_regions": True}, progress=progress)
    lap("reports")
    result = score(reports, store, seed, progress)
    lap("evaluation")
    write_text(out / "evaluation.json", json.dumps(result["evaluation"], indent=2) + "\n")
    write_reports_page(
        out / "page.html",
        reports,
        store_loader=lambda name: (store.volume(name), store.mask(name)),
        evaluation=result["evaluation"],
        floors=result["rows"],
        notes=NOTES,
        title="reg2rg demo: grounded reports of phantoms",
    )
    lap("page")
    return {
        "page": str(out / "page.html"),
        "seconds": {**seconds, "all": round(time.monotonic() - started, 1)},
        "rows": result["table"],
        "recognition": result["evaluation"]["region_recognition"]["accuracy"],
        "distinct_reports": result["evaluation"].get("distinct_reports"),
        "test_studies": len(reports),
    }


def run_recipe(
    recipe: Recipe, store: Store, run: Path, encoder: Path | None, *, seed: int = 0, progress: Progress = silent
) -> None:
    """Pretrains the encoder (where it has a folder) and trains the recipe; finished steps are kept, broken ones go on."""
    if encoder is not None and not (encoder / "encoder.safetensors").is_file():
        pretrain(recipe, store, encoder, seed=seed, progress=progress)
    if (run / "config.json").is_file():
        made = json.loads((run / "config.json").read_text())
        if made.get("recipe_fingerprint") != recipe.fingerprint() or made.get("data_fingerprint") != store.fingerprint():
            raise UserError("the folder holds a run of another recipe or other data", run, "Choose another --out.")
        return
    resume = bool(checkpoint.found(run / "checkpoints"))
    train(recipe, store, run, init=[encoder] if encoder else [], resume=resume, progress=progress)


def generate_split(
    model: Reg2RG,
    store: Store,
    out: Path,
    *,
    split: str = "test",
    shard: str = "",
    form: Format = "jsonl",
    changes: Mapping[str, Any] | None = None,
    progress: Progress = silent,
) -> list[GroundedReport]:
    """Writes the reports of a split into a file, going on with what an interrupted run left."""
    studies = store.chosen(split, shard)
    spec = model.model.recipe.generation.model_copy(update=dict(changes or {}))
    settings = {
        **model.provenance(store.fingerprint()),
        "decoding": spec.model_dump(mode="json", exclude={"batch_size"}),
    }
    writer = ReportsWriter(out, settings)
    left = [s for s in studies if s.id not in writer.done]
    views = model.model.recipe.views
    source = open_views(store, [s.id for s in left], views, geometry=model.model.recipe.geometry_encoder is not None)
    for _ in writer.add(generate(model.model, Samples(model.model, left, source), spec, settings, progress)):
        pass
    return writer.finish([s.id for s in studies], model.model.recipe, form)


def score(reports: list[GroundedReport], store: Store, seed: int, progress: Progress = silent) -> dict[str, Any]:
    """The evaluation, the floors and the ceiling of phantom reports, on the labels of the store."""
    labels = {s.id: s.labels for s in store.studies("test")}
    evaluation = evaluate(reports, labels=labels, seed=seed, progress=progress)
    ceiling = {"perfect reader, other words": [perfect(r, store.root.parent / "data") for r in reports]}
    rows = floors(reports, train=store.studies("train"), labels=labels, seed=seed, extra=ceiling)
    clinical, metrics = evaluation["clinical"], evaluation["metrics"]
    low, high = clinical["micro_interval"]["f1"]
    model = {"micro_f1": {"value": clinical["micro"]["f1"], "low": low, "high": high}}
    model |= {k: metrics[k] for k in ("bleu4", "rougeL", "meteor") if k in metrics}
    evaluation["floors"] = rows
    return {"evaluation": evaluation, "rows": rows, "table": {"trained model": model, **rows}}


def perfect(report: GroundedReport, data: Path) -> GroundedReport:
    """What a reader who knows the phantom's plan writes in other words: the ceiling of text metrics."""
    plan_file = json.loads((data / "plans" / f"{report.study}.json").read_text())
    plan = plan_study(plan_file["seed"], plan_file["index"], plan_file["profile"])
    texts = sentences(plan, seed=plan.seed + 1)
    sections = tuple(dataclasses.replace(s, named=s.region, report=texts.get(s.region, "")) for s in report.sections)
    return dataclasses.replace(report, sections=sections, report=" ".join(s.report for s in sections if s.report))
