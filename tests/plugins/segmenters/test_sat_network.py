"""SAT's network against its published facts, written down a second time in plain functions over the published keys."""

from __future__ import annotations

import math

import pytest
import samples_sat as sample
import torch
from reg2rg_plugins.segmenters import _sat_text
from reg2rg_plugins.segmenters._sat_config import Sizes, check_window, sizes_of
from reg2rg_plugins.segmenters._sat_queries import Network, logits, positions
from torch import Tensor
from torch.nn import functional as F

State = dict[str, Tensor]


def made(size: sample.Size = sample.Size(), **changes: object) -> tuple[Network, State]:
    """A network with random weights, and these by the published keys."""
    state = sample.network_state(size, deep=False)
    own = {k: v for k, v in state.items() if "all_modules" not in k and "decoder.encoder" not in k}
    sizes = Sizes.from_json({**sizes_of(own)[0].to_json(), **changes})
    network = Network(sizes)
    network.load_state_dict(own)
    return network.eval().requires_grad_(False), state


def block(state: State, at: str, x: Tensor, stride: int = 1) -> Tensor:
    x = F.conv3d(x, state[f"{at}.conv.weight"], state[f"{at}.conv.bias"], stride, padding=1)
    mean = x.mean(dim=(2, 3, 4), keepdim=True)
    x = (x - mean) / (x.var(dim=(2, 3, 4), keepdim=True, unbiased=False) + 1e-5).sqrt()
    weight, bias = (state[f"{at}.norm.{part}"][:, None, None, None] for part in ("weight", "bias"))
    x = x * weight + bias
    return torch.where(x > 0, x, 0.01 * x)


def linear(state: State, at: str, x: Tensor) -> Tensor:
    return x @ state[f"{at}.weight"].T + state[f"{at}.bias"]


def gelu(x: Tensor) -> Tensor:
    return x * 0.5 * (1 + torch.erf(x / math.sqrt(2)))


def two_layers(state: State, at: str, x: Tensor) -> Tensor:
    return gelu(linear(state, f"{at}.2", gelu(linear(state, f"{at}.0", x))))


def norm(state: State, at: str, x: Tensor) -> Tensor:
    spread = (x.var(dim=-1, keepdim=True, unbiased=False) + 1e-5).sqrt()
    return (x - x.mean(dim=-1, keepdim=True)) / spread * state[f"{at}.weight"] + state[f"{at}.bias"]


def attention(state: State, at: str, queries: Tensor, keys: Tensor, values: Tensor, heads: int = 8) -> Tensor:
    width = queries.shape[-1]
    weight, bias = state[f"{at}.in_proj_weight"], state[f"{at}.in_proj_bias"]
    parts = [
        (x @ weight[i * width : (i + 1) * width].T + bias[i * width : (i + 1) * width]).unflatten(-1, (heads, -1))
        for i, x in enumerate((queries, keys, values))
    ]
    scores = torch.einsum("bnhc,bthc->bhnt", parts[0], parts[1]) / math.sqrt(width // heads)
    mixed = torch.einsum("bhnt,bthc->bnhc", scores.softmax(dim=-1), parts[2]).flatten(2)
    return linear(state, f"{at}.out_proj", mixed)


def place(x: int, y: int, z: int, width: int) -> Tensor:
    """The position of one token, value by value."""
    third = 2 * math.ceil(width / 6)
    values = []
    for n in (x, y, z):
        for i in range(third // 2):
            angle = n * 10000 ** (-2 * i / third)
            values += [math.sin(angle), math.cos(angle)]
    return torch.tensor(values[:width])


def naive(state: State, size: sample.Size, x: Tensor, queries: Tensor) -> Tensor:
    """Mask logits (B, n, X, Y, Z) by the facts: U-Net, pooled memory, pre-norm cross-attention, mask embedding, product."""
    x, maps = x.repeat(1, 3, 1, 1, 1), []
    for i in range(6):
        for j in range(size.convs):
            x = block(state, f"backbone.encoder.stages.{i}.0.convs.{j}", x, 2 if i and not j else 1)
        maps.append(x)
    up = maps[-1]
    for i in range(5):
        at = f"backbone.decoder.transpconvs.{i}"
        up = F.conv_transpose3d(up, state[f"{at}.weight"], state[f"{at}.bias"], stride=2)
        up = torch.cat((up, maps[4 - i]), dim=1)
        for j in range(size.convs):
            up = block(state, f"backbone.decoder.stages.{i}.convs.{j}", up)
    grid = maps[-1].shape[2:]
    pooled = torch.cat([F.adaptive_avg_pool3d(m, grid) for m in maps], dim=1)
    memory = two_layers(state, "projection_layer", pooled.permute(0, 2, 3, 4, 1).flatten(1, 3))
    places = torch.stack([place(*index, size.width) for index in torch.cartesian_prod(*map(torch.arange, grid)).tolist()])
    tokens = queries.expand(len(x), -1, -1)
    for i in range(size.layers):
        at = f"transformer_decoder.layers.{i}"
        tokens = tokens + attention(state, f"{at}.multihead_attn", norm(state, f"{at}.norm2", tokens), memory + places, memory)
        hidden = linear(state, f"{at}.linear1", norm(state, f"{at}.norm3", tokens)).relu()
        tokens = tokens + linear(state, f"{at}.linear2", hidden)
    vectors = two_layers(state, "mask_embed_proj", norm(state, "transformer_decoder.norm", tokens))
    return (up[:, None] * vectors[..., None, None, None]).sum(dim=2)


@pytest.mark.parametrize("convs, window", [(2, (64, 32, 32)), (3, (32, 64, 32))], ids=["as Nano", "as Pro"])
def test_the_network_is_what_its_facts_say(convs: int, window: tuple[int, int, int]) -> None:
    size = sample.Size(convs=convs)
    network, state = made(size)
    maker = torch.Generator().manual_seed(1)
    x, queries = torch.randn(2, 1, *window, generator=maker), torch.randn(3, size.width, generator=maker)
    wanted = naive(state, size, x, queries)
    found = logits(*network(x, queries))
    assert found.shape == (2, 3, *window) and wanted.std() > 1e-3
    assert torch.allclose(found, wanted, atol=1e-4 * float(wanted.abs().max()))


def test_queries_dont_see_each_other() -> None:
    network, _ = made()
    maker = torch.Generator().manual_seed(2)
    x, queries = torch.randn(1, 1, 64, 32, 32, generator=maker), torch.randn(5, 24, generator=maker)
    voxels, vectors = network(x, queries)
    assert torch.allclose(network(x, queries[3:4])[1][:, 0], vectors[:, 3], atol=1e-6)
    assert torch.equal(network(x, queries[:1])[0], voxels)


def test_positions_of_a_window_are_those_of_its_corner_in_a_larger_one() -> None:
    large, small = positions((9, 9, 3), 768).unflatten(0, (9, 9, 3)), positions((6, 6, 2), 768).unflatten(0, (6, 6, 2))
    assert torch.equal(large[:6, :6, :2], small) and large.flatten(0, 2).unique(dim=0).shape[0] == 243
    assert torch.allclose(large[4, 7, 2], place(4, 7, 2, 768), atol=1e-5)
    assert torch.allclose(positions((2, 2, 2), 40)[5], place(1, 0, 1, 40), atol=1e-6), "a width that three doesn't divide"


@pytest.mark.parametrize("window", [(48, 32, 32), (32, 32, 32), (64, 32), (0, 64, 64), (-64, 64, 64)])
def test_windows_that_the_network_cant_take(window: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match="multiples of 32"):
        check_window(window)


def test_the_text_query_is_the_projected_mean_of_the_tokens_and_the_modality(tmp_path) -> None:  # type: ignore[no-untyped-def]
    size = sample.Size()
    folder = sample.tower_folder(tmp_path / "tower", size)
    config = _sat_text.read_config(folder / "config.json")
    encoder = _sat_text.build(config, size.width, size.width)
    state = sample.fill(sample.text(size))
    encoder.load_state_dict(state)
    found = _sat_text.encode(encoder, folder, ["liver", "left lung lower lobe"])
    from transformers import AutoTokenizer

    ids = AutoTokenizer.from_pretrained(folder)("liver", return_tensors="pt")["input_ids"]
    assert ids.shape[1] > 3, "several tokens, so that the mean is one"
    with torch.inference_mode():
        states = encoder.text_tower["biolord"](input_ids=ids).last_hidden_state[0]
    hidden = gelu(linear(state, "projection_layer.0", states.mean(dim=0)))
    wanted = linear(state, "projection_layer.2", hidden) + state["modality_embed.weight"][0]
    assert torch.allclose(found["liver"], wanted, atol=1e-5)
