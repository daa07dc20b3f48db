"""GPT-2 as the decoder: its published size, its context of 1,024, its padding, and adapters on its own layers."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from samples_gpt2 import END, gpt2_folder

from reg2rg import recipe as recipes
from reg2rg.anatomy import REGIONS
from reg2rg.conformance import conform
from reg2rg.errors import UserError
from reg2rg.generate.decoding import write
from reg2rg.model.batch import Sample, collate
from reg2rg.model.composite import Reg2RGModel, build_model, prepare_decoder
from reg2rg.model.prompt import Target
from reg2rg.plugins import resolve
from reg2rg.recipe import Lora

VISUAL = (
    "volume_encoder=conv3d",
    "views.size=[16,16,8]",
    "adapter.options={tokens: 2, depth: 1, heads: 2, head_dim: 8}",
    "geometry_encoder=mask-conv",
    "prompt.lead_in=''",
)
SHORT = "prompt.instruction='Write.'"


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return gpt2_folder(tmp_path_factory.mktemp("gpt2"))


def build(folder: Path, *sets: str) -> Reg2RGModel:
    spec = recipes.load("gpt2", sets=(f"decoder.options.path={folder}", *VISUAL, *sets))
    return build_model(spec)[0].eval()


def sample(model: Reg2RGModel, regions: tuple[str, ...], target: Target | None = None) -> Sample:
    textures = torch.zeros(len(regions), 1, 16, 16, 8)
    return Sample(model.prompts.build(regions, target), torch.zeros(1, 16, 16, 8), textures, textures)


def test_the_smallest_gpt2_and_its_projections_have_their_size() -> None:
    from transformers import GPT2Config, GPT2LMHeadModel

    spec = recipes.load("gpt2")
    assert spec.decoder.lora is None and spec.prompt.max_length == 1024
    with torch.device("meta"):
        decoder = GPT2LMHeadModel(GPT2Config())
        model = Reg2RGModel(spec, prepare_decoder(decoder, spec.decoder, training=True), Words(50257))
    count = {name: sum(p.numel() for p in part.parameters()) for name, part in model.visual.named_children()}
    assert sum(p.numel() for p in model.decoder.parameters()) == 124_439_808
    assert count["projection"] == 768 * 768 + 768 and count["geometry_projection"] == 255 * 768 + 768
    assert model.context == 1024 and all(p.requires_grad for p in model.decoder.parameters())


class Words:
    """A tokenizer as far as building a model needs one."""

    bos_token_id = eos_token_id = 50256

    def __init__(self, words: int) -> None:
        self.words = words

    def __len__(self) -> int:
        return self.words


def test_it_keeps_a_decoders_contract(folder: Path) -> None:
    verdict = conform("decoder", "gpt2", {"path": str(folder)})
    assert verdict.passed, str(verdict)


def test_padding_takes_the_end_token(folder: Path) -> None:
    _, tokenizer = resolve("decoder", "gpt2", {"path": str(folder)}).build()
    assert tokenizer.pad_token == tokenizer.eos_token == END


def test_texts_end_where_its_context_does(folder: Path) -> None:
    model = build(folder, SHORT)
    words = "clear " * 400
    prompt = model.prompts.build(("lung",), Target(words, (0,)))
    assert len(prompt.ids) == 256
    loss, weight = model(collate([sample(model, ("lung",), Target(words, (0,)))], model.tokenizer.pad_token_id))
    assert bool(loss.isfinite().all()) and weight.item() == 256 - prompt.prompt_length


def test_a_prompt_beyond_its_context_is_refused(folder: Path) -> None:
    model = build(folder, "prompt.instruction=" + "x " * 300)
    with pytest.raises(UserError, match="more than the 256 that the decoder can read"):
        model.prompts.build(REGIONS[:2])


def test_it_writes_no_further_than_its_context(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    model = build(folder, SHORT)
    asked = sample(model, ("lung",))
    room = 256 - len(asked.prompt.ids)
    spec = recipes.load("gpt2").generation.model_copy(update={"max_new_tokens": 1000, "grammar": False})
    model.tokenizer.eos_token_id = model.tokenizer.convert_tokens_to_ids("!")  # these weights don't write it
    ids = []
    generate = model.decoder.generate
    monkeypatch.setattr(model.decoder, "generate", lambda **given: ids.append(generate(**given)) or ids[-1])
    write(model, [asked], spec)
    assert ids[0].shape == (1, room)


def test_a_batch_writes_what_each_writes_alone(folder: Path) -> None:
    """Left padding moves GPT-2's learned positions; they count from the first given token."""
    model = build(folder, SHORT)
    spec = recipes.load("gpt2").generation.model_copy(update={"max_new_tokens": 5, "grammar": False})
    pair = [sample(model, ("lung",)), sample(model, ("lung", "heart"))]
    assert [w.text for w in write(model, pair, spec)] == [write(model, [s], spec)[0].text for s in pair]


def test_adapters_go_to_its_attention(folder: Path) -> None:
    model, _ = resolve("decoder", "gpt2", {"path": str(folder)}).build()
    spec = recipes.load("gpt2", sets=(f"decoder.options.path={folder}",)).decoder.model_copy(update={"lora": Lora(r=2)})
    adapted = prepare_decoder(model, spec, training=True)
    names = {n for n, p in adapted.named_parameters() if p.requires_grad}
    assert names and all(".attn.c_attn.lora_" in n for n in names)
