"""RadBERT's classifier of eighteen findings → a folder for the labeler `radbert`, and back.

In: the published torch file; beside it, in a folder that the user names or in the hub's cache of this machine, the tokenizer
and config.json of the encoder that it was trained from. Out: `model.safetensors` by the published names, a whole config.json,
and the tokenizer's files as they are.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import torch

from .. import __version__
from ..anatomy import FINDINGS
from ..errors import UserError
from ..files import atomic_folder, write_text
from ..model.tokenizers import local_folder
from ..model.weights import read_tensors, write_tensors
from . import back as backwards
from . import job, keys, reading
from .job import Converted, Request
from .shapes import Shapes
from .tables import LAYOUTS

WEIGHTS, CONFIG, BASE = "model.safetensors", "config.json", "zzxslp/RadBERT-RoBERTa-4m"
TOKENIZERS = (("tokenizer.json",), ("vocab.json", "merges.txt"), ("vocab.txt",))
BESIDE = ("tokenizer_config.json", "special_tokens_map.json", "added_tokens.json")
HEAD = 64  # width of an attention head of every published BERT and RoBERTa
# facts of RoBERTa-base, where no config.json says otherwise
ROBERTA: dict[str, Any] = {
    "model_type": "roberta",
    "hidden_act": "gelu",
    "layer_norm_eps": 1e-5,
    "pad_token_id": 1,
    "bos_token_id": 0,
    "eos_token_id": 2,
}
# the sizes of the encoder: a pattern of keys, and the axis of the shape that tells
SIZES = {
    "vocab_size": (r"model\.embeddings\.word_embeddings\.weight", 0),
    "hidden_size": (r"model\.(embeddings\.word_embeddings|pooler\.dense)\.weight|classifier\.weight", 1),
    "max_position_embeddings": (r"model\.embeddings\.position_embeddings\.weight", 0),
    "type_vocab_size": (r"model\.embeddings\.token_type_embeddings\.weight", 0),
    "intermediate_size": (r"model\.encoder\.layer\.\d+\.intermediate\.dense\.\w+", 0),
}


def forth(request: Request) -> Converted:
    """Writes the labeler's folder. Raises UserError, and leaves nothing, where the file isn't as published."""
    job.refuse_existing(request.out)
    wanted = LAYOUTS[request.kind.layouts[0]]
    file = reading.find(request.source, wanted.files)
    if file is None:
        raise UserError(f"the folder has none of {', '.join(wanted.files)}", request.source, "Give the published file.")
    tensors = reading.read(file)
    found = keys.sort(keys.expect(tensors, request.kind.layouts, file), tensors, file)
    places = _places(request, file.parent)
    config, notes = configuration(Shapes(found.ours), places)
    keys.check(found, blueprint(config), file, "Give its config.json: --tokenizer FOLDER, or beside the file.")
    job.check_room(request.out, job.bytes_of(tensors))
    request.progress("Write", 0, 1)
    with atomic_folder(request.out) as folder:
        write_tensors(folder / WEIGHTS, found.ours)
        if found.rest:
            write_tensors(folder / job.REST, found.rest)
        job.write_record(folder, request.kind.name, {file.name: (wanted.name, job.describe(tensors))})
        write_text(folder / CONFIG, json.dumps({**config, **_about(file)}, indent=2) + "\n")
        words, more = _take_tokenizer(folder, config, places, request.tokenizer is not None)
        write_text(folder / "README.md", _card(file))
        files = tuple(sorted(p.name for p in folder.iterdir()))
    request.progress("Write", 1, 1)
    parameters = sum(v.numel() for v in found.ours.values())
    told = (*notes, *more)
    return Converted(request.kind.name, request.out, files, len(found.ours), parameters, tokenizer=words, notes=told)


def back(request: Request) -> Converted:
    """Writes the published file of a labeler's folder again. Raises UserError where the folder is none."""
    layout, source = LAYOUTS[request.kind.layouts[0]], request.source
    if not (source / WEIGHTS).is_file():
        raise UserError("this is no labeler's folder", source, f"Give a folder with {WEIGHTS}.")
    own = read_tensors(source / WEIGHTS)
    if (odd := [name for name in own if layout.official(name) is None]) or "classifier.weight" not in own:
        raise UserError(f"this is no {layout.title}: its keys are {reading.listed(odd or own)}", source)
    record = job.read_record(source, request.kind.name)
    types = next((types for _, types in record.values()), None) or job.describe(own)
    tensors = backwards.official_tensors(layout, types, own, backwards.rest(source), source)
    out = backwards.target(request.out, layout.files[0])
    job.check_room(out, job.bytes_of(tensors))
    job.write_torch(out, tensors)
    return Converted(request.kind.name, out, (out.name,), len(tensors), sum(t.numel() for t in tensors.values()))


def blueprint(config: Mapping[str, Any]) -> dict[str, torch.Size]:
    """The published names and shapes of an encoder of this configuration with its eighteen outputs, without their memory."""
    from transformers import AutoModel

    with torch.device("meta"):
        encoder = AutoModel.from_config(_config(config))
    shapes = {f"model.{key}": value.shape for key, value in encoder.state_dict().items()}
    head = (len(FINDINGS), int(config["hidden_size"]))
    return {**shapes, "classifier.weight": torch.Size(head), "classifier.bias": torch.Size(head[:1])}


def _config(found: Mapping[str, Any]) -> Any:
    from transformers import AutoConfig

    return AutoConfig.for_model(str(found["model_type"]), **{k: v for k, v in found.items() if k != "model_type"})


def configuration(shapes: Shapes, places: Iterable[Path]) -> tuple[dict[str, Any], list[str]]:
    """The encoder's configuration and notes: from a config.json at hand whose sizes are the file's, else from the shapes.

    Raises UserError where the number of heads is anyone's guess.
    """
    sizes = {name: size for name, (key, axis) in SIZES.items() if (size := shapes.size(key, axis)) is not None}
    if (layers := shapes.count(r"model\.encoder\.layer\.(\d+)\.")) is not None:
        sizes["num_hidden_layers"] = layers
    notes: list[str] = []
    for folder in places:
        found = _read_config(folder / CONFIG)
        if found and all(found.get(name) == size for name, size in sizes.items()):
            return found, notes
        notes += [f"{folder / CONFIG} is of another model and not used"] if found else []
    hidden = sizes.get("hidden_size", HEAD)
    if hidden % HEAD:
        fix = "Give the encoder's config.json: --tokenizer FOLDER, or beside the file."
        raise UserError(f"the encoder's width {hidden} isn't heads of {HEAD}, as every published RoBERTa has them", fix=fix)
    if hidden != 768:
        notes.append(f"the encoder's heads are taken to be {HEAD} wide; a config.json beside the file would say")
    return _config({**ROBERTA, **sizes, "num_attention_heads": hidden // HEAD}).to_dict(), notes


def _read_config(path: Path) -> dict[str, Any]:
    """A BERT's or RoBERTa's config.json, completed; nothing where there is none, or one of something else."""
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
        known = isinstance(found, dict) and found.get("model_type") in ("roberta", "bert")
        return _config(found).to_dict() if known else {}
    except (OSError, ValueError, TypeError):
        return {}


def _places(request: Request, beside: Path) -> list[Path]:
    """Where config.json and tokenizer are looked for. Raises UserError where the folder that the user names is none."""
    chosen = local_folder(request.tokenizer) if request.tokenizer else None
    if request.tokenizer and chosen is None:
        raise UserError("there is no such folder", request.tokenizer, f"Give one with the tokenizer of {BASE}.")
    return [place for place in (chosen, beside, local_folder(BASE)) if place is not None]


def _take_tokenizer(folder: Path, config: Mapping[str, Any], places: list[Path], chosen: bool) -> tuple[bool, list[str]]:
    """Copies the first tokenizer that fits into the folder; whether there was one, and notes.

    Raises UserError where the first place is the user's choice and its tokenizer doesn't fit.
    """
    notes: list[str] = []
    for i, place in enumerate(places):
        names = next((names for names in TOKENIZERS if all((place / name).is_file() for name in names)), None)
        if names is None:
            continue
        taken = [name for name in (*names, *BESIDE) if (place / name).is_file()]
        for name in taken:
            shutil.copyfile(place / name, folder / name)
        if not (reason := _misfit(folder, config)):
            return True, notes
        if chosen and i == 0:
            raise UserError(reason, place, f"Give the tokenizer of {BASE}.")
        notes.append(f"the tokenizer in {place} isn't used: {reason}")
        for name in taken:
            (folder / name).unlink()
    where = "vocab.json and merges.txt, or tokenizer.json"
    return False, [*notes, f"no tokenizer was found; copy {where}, of {BASE} into the new folder before you use it"]


def _misfit(folder: Path, config: Mapping[str, Any]) -> str:
    """Why the tokenizer in the folder isn't the classifier's; an empty text where it may be."""
    from transformers import AutoTokenizer

    try:
        words = len(AutoTokenizer.from_pretrained(folder, local_files_only=True))
    except Exception as error:  # the tokenizers library throws its plainest one at files that don't fit together
        return f"the tokenizer can't be loaded ({(str(error).splitlines() or ['?'])[0][:120]})"
    rows = int(config["vocab_size"])
    return f"the tokenizer has {words} words, the classifier's table {rows}" if words > rows else ""


def _about(file: Path) -> dict[str, Any]:
    """What config.json says beside the encoder's sizes: the outputs in their order, and where they came from."""
    return {
        "architectures": ["RadBertClassifier"],
        "num_labels": len(FINDINGS),
        "id2label": dict(enumerate(FINDINGS)),
        "label2id": {finding: i for i, finding in enumerate(FINDINGS)},
        "problem_type": "multi_label_classification",
        "converted_from": file.name,
        "reg2rg_version": __version__,
    }


def _card(file: Path) -> str:
    """The folder's README."""
    return (
        f"# RadBERT's classifier of eighteen findings\n\nPublished weights ({file.name}), converted by reg2rg {__version__}; "
        "they stay under the terms of their authors. `config.json` names the outputs in their order.\n\n"
        "Use: `reg2rg label REPORTS --out LABELS.csv --labeler radbert --weights THIS_FOLDER`.\n"
    )
