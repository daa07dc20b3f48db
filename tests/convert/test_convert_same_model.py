"""A converted run computes what its official weights compute, put together by hand: no key was mixed up."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
import torch
from official_files import Pieces, Sizes, llama_folder, pieces, reg2rg
from torch import Tensor, nn

from reg2rg.convert import convert
from reg2rg.convert.job import Request
from reg2rg.convert.kinds import KINDS
from reg2rg.errors import UserError
from reg2rg.model import weights
from reg2rg.model.batch import Batch, Sample, collate
from reg2rg.model.composite import Reg2RGModel, nll
from reg2rg.model.prompt import Target
from reg2rg.plugins import resolve

S = Sizes()
HEADS = 4


def forth(source: Path, out: Path, **more: object) -> None:
    convert(Request(KINDS["reg2rg"], source, out, **more))  # type: ignore[arg-type]


@pytest.fixture(scope="module")
def parts() -> Pieces:
    return pieces(S, seed=21)


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory, parts: Pieces) -> Path:
    """The official file, its language model's folder with and without weights, and a run of each form."""
    root = tmp_path_factory.mktemp("same")
    torch.save(reg2rg(parts), root / "pytorch_model.bin")
    llama_folder(root / "base", S, parts.llama, HEADS)
    llama_folder(root / "words", S, heads=HEADS)
    forth(root, root / "partial", decoder=str(root / "base"))
    forth(root, root / "whole", decoder=str(root / "words"))
    return root


def a_batch(model: Reg2RGModel) -> Batch:
    """Two studies, one of two regions and one of one, with random views and targets."""
    draw = torch.Generator().manual_seed(1)
    samples = []
    for regions in (("heart", "lung"), ("lung",)):
        text = "".join(f"The region {i} is {r}: Both lungs are clear. " for i, r in enumerate(regions))
        target = Target(text, tuple(range(0, len(text), len(text)))[: len(regions)])
        n = len(regions)
        image, *textures = torch.rand(n + 1, 1, 64, 64, 16, generator=draw) * 2 - 1
        masks = torch.rand(n, 1, 64, 64, 16, generator=draw)
        samples.append(Sample(model.prompts.build(regions, target), image, torch.stack(textures), masks))
    return collate(samples, 0)


def loaded(kind: str, name: str, tensors: dict[str, Tensor], **options: object) -> nn.Module:
    module = resolve(kind, name, options)
    module.load_state_dict(tensors, strict=True)
    return module.eval()


def by_hand(p: Pieces, batch: Batch, words: int) -> Tensor:
    """Logits from the official tensors alone: adapters merged (W + 32/8·B·A), each study's table written out in order."""
    from transformers import LlamaConfig, LlamaForCausalLM

    vit = {"width": S.width, "depth": S.depth, "heads": S.heads, "mlp": S.mlp, "capacity": (64, 64, 16), "patch": (32, 32, 4)}
    vision = loaded("volume-encoder", "vit3d", p.vision, channels=3, **vit)
    adapter = loaded("adapter", "perceiver", p.perceiver, width=S.width, tokens=S.latents, depth=S.layers, heads=S.heads)
    size = {"width": S.mask_width, "depth": S.mask_depth, "heads": 2, "mlp": 20, "capacity": (64, 64, 16)}
    masks = loaded("geometry-encoder", "mask-vit", p.mask, patch=(32, 32, 16), **size)
    image = nn.functional.linear(adapter(vision(batch.images)), p.rest["fc.weight"], p.rest["fc.bias"])
    texture = nn.functional.linear(adapter(vision(batch.textures)), p.rest["fc.weight"], p.rest["fc.bias"])
    shape = nn.functional.linear(masks(batch.masks), p.rest["mask_fc.weight"], p.rest["mask_fc.bias"])
    regions = torch.cat([texture, shape], dim=1)
    tags = torch.cat([p.rest["image_token_weight"], p.rest["region_token_weight"]])
    rows = []
    for study, ids in enumerate(batch.ids):
        own = regions[batch.study == study].flatten(0, 1)
        # the tokenizer of the test has fewer words than the table; ids from its end on are visual
        table = torch.cat([p.llama["model.embed_tokens.weight"][:words], tags, image[study], own])
        rows.append(table[ids])
    merged = dict(p.llama)
    for key in [k for k in p.lora if "lora_A" in k]:
        name = key.split(".lora_A")[0] + ".weight"
        merged[name] = merged[name] + 32 / 8 * p.lora[key.replace("lora_A", "lora_B")] @ p.lora[key]
    config = LlamaConfig(
        vocab_size=S.words, hidden_size=S.hidden, intermediate_size=S.ff, num_hidden_layers=S.blocks,
        num_attention_heads=HEADS, rms_norm_eps=1e-5, max_position_embeddings=4096,
    )  # fmt: skip
    llama = LlamaForCausalLM(config).eval()
    llama.load_state_dict(merged, strict=True)
    return llama(inputs_embeds=torch.stack(rows), attention_mask=batch.attention).logits


@pytest.mark.parametrize("form", ["partial", "whole"])
@torch.no_grad()
def test_logits_and_loss(root: Path, parts: Pieces, form: str) -> None:
    model = weights.load(root / form)
    batch = a_batch(model)
    wanted = by_hand(parts, batch, len(model.tokenizer))
    logits = model.decoder(inputs_embeds=model.embed(batch), attention_mask=batch.attention).logits
    used = batch.attention.bool()
    assert (logits - wanted)[used].abs().max() <= 2e-5 * wanted[used].abs().max()
    loss, count = model(batch)
    reference, total = nll(wanted, batch.labels, batch.weights)
    assert torch.allclose(loss / count, reference / total, rtol=1e-5) and torch.equal(count, total)


def test_what_a_run_of_each_form_holds(root: Path) -> None:
    partial, whole = (json.loads((root / form / "config.json").read_text()) for form in ("partial", "whole"))
    assert partial["base"] == str((root / "base").resolve()) and partial["base_fingerprint"]
    assert whole["base"] is None and whole["tokenizer"] == str((root / "words").resolve())
    assert (root / "partial" / "model.safetensors").stat().st_size < (root / "whole" / "model.safetensors").stat().st_size
    for form in ("partial", "whole"):
        assert {"recipe.yaml", "config.json", "tokenizer.json", "README.md", "official.json"} <= {
            p.name for p in (root / form).iterdir()
        }


@torch.no_grad()
def test_a_run_without_a_tokenizer_finds_one_where_its_config_or_the_user_says(root: Path, tmp_path: Path) -> None:
    config = json.loads((root / "words" / "config.json").read_text())
    (tmp_path / "config.json").write_text(json.dumps(config))
    shutil.copyfile(root / "pytorch_model.bin", tmp_path / "pytorch_model.bin")
    forth(tmp_path, tmp_path / "run")
    with pytest.raises(UserError, match=r"holds no tokenizer.*'meta-llama/Llama-2-7b-chat-hf'.*--decoder FOLDER"):
        weights.load(tmp_path / "run")
    model, wanted = weights.load(tmp_path / "run", str(root / "words")), weights.load(root / "whole")
    batch = a_batch(model)
    assert torch.equal(model(batch)[0], wanted(batch)[0])
    about = json.loads((tmp_path / "run" / "config.json").read_text())
    (tmp_path / "run" / "config.json").write_text(json.dumps({**about, "tokenizer": str(root / "words")}))
    assert torch.equal(weights.load(tmp_path / "run")(batch)[0], wanted(batch)[0])


@torch.no_grad()
def test_a_run_of_ones_own_goes_to_the_official_layout_and_comes_back(root: Path, tmp_path: Path) -> None:
    """What was trained here can be handed to the official code: every weight, by its official name."""
    model = weights.load(root / "whole")
    for parameter in model.parameters():
        parameter.mul_(0.5)
    weights.save(model, tmp_path / "own", None, {})
    assert not (tmp_path / "own" / "official.json").exists()
    convert(Request(KINDS["reg2rg"], tmp_path / "own", tmp_path / "official"), back=True)
    state = torch.load(tmp_path / "official" / "pytorch_model.bin", weights_only=True)
    assert set(state) == {k for k in torch.load(root / "pytorch_model.bin", weights_only=True) if "inv_freq" not in k}
    forth(tmp_path / "official", tmp_path / "again", decoder=str(root / "words"))
    batch = a_batch(model)
    assert torch.equal(weights.load(tmp_path / "again")(batch)[0], model(batch)[0])


@torch.no_grad()
def test_a_run_keeps_its_sentencepiece_model(shared: Path, tmp_path: Path) -> None:
    """transformers saves a tokenizer without it, and rebuilds one that splits double blanks otherwise."""
    source = tmp_path / "source"
    shutil.copytree(shared / "data" / "llama-tokenizer", source, copy_function=shutil.copyfile)
    torch.save(reg2rg(pieces(Sizes(words=32000))), source / "pytorch_model.bin")
    forth(source, tmp_path / "run")
    model = weights.load(tmp_path / "run")
    text = "The region  0 is lung:  Both lungs are clear."
    from sentencepiece import SentencePieceProcessor

    assert model.prompts.encode(text)[0] == SentencePieceProcessor(model_file=str(source / "tokenizer.model")).encode(text)
    assert (model.tokenizer.pad_token_id, model.tokenizer.bos_token_id, model.tokenizer.eos_token_id) == (0, 1, 2)
    weights.save(model, tmp_path / "again", None, {})
    assert (tmp_path / "again" / "tokenizer.model").read_bytes() == (source / "tokenizer.model").read_bytes()
