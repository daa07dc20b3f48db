"""One training step counted on fake tensors: every storage for as long as it lives, of the real modules in their real types.

In: a recipe, a LLaMA's dimensions, a length. Out: `Step`, the bytes of one process's parts and passes. See memory.py.
"""

from __future__ import annotations

import contextlib
import dataclasses
import weakref
from collections.abc import Iterable, Iterator
from typing import Any
from unittest import mock

import torch
from torch import Tensor, nn
from torch._subclasses import FakeTensorMode
from torch.nn import functional as F
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from reg2rg.anatomy import REGIONS
from reg2rg.model.composite import nll, prepare_decoder
from reg2rg.model.visual import VisualModel
from reg2rg.recipe import Recipe

MASKS = "transformers.models.llama.modeling_llama.create_causal_mask"
WORDS = 160  # of the prompt's ids for ten regions, those that are words (LLaMA's tokenizer, the begin token included)
TAGS = 2 * (1 + len(REGIONS))


class Live(TorchDispatchMode):
    """Counts the bytes of all storages that are alive: `now`, and the `peak` since it was set."""

    def __init__(self) -> None:
        super().__init__()
        self.now = self.peak = 0
        self._seen: dict[int, Any] = {}

    def add(self, tensor: Any) -> None:
        """Counts a tensor's storage once, until it is freed."""
        if not isinstance(tensor, Tensor):
            return
        storage = tensor.untyped_storage()
        key, size = storage._cdata, storage.nbytes()
        if key not in self._seen:
            self._seen[key] = weakref.ref(storage, lambda _: self._gone(key, size))
            self.now += size
            self.peak = max(self.peak, self.now)

    def _gone(self, key: int, size: int) -> None:
        self._seen.pop(key, None)
        self.now -= size

    def __torch_dispatch__(self, function: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        out = function(*args, **(kwargs or {}))
        for leaf in tree_leaves(out):
            self.add(leaf)
        return out


class _FourBitProduct(torch.autograd.Function):
    """As bitsandbytes multiplies: the weights are made whole for one product, forward and again backward, and kept packed."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, packed: Tensor, shape: tuple[int, int]) -> Tensor:
        ctx.shape, ctx.packed = shape, packed
        return x @ torch.empty(shape, dtype=x.dtype, device=x.device).t()

    @staticmethod
    def backward(ctx: Any, *gradients: Any) -> Any:
        grad = gradients[0]
        return grad @ torch.empty(ctx.shape, dtype=grad.dtype, device=grad.device), None, None


class FourBit(nn.Linear):
    """A linear layer with the storage of nf4 and double quantisation: half a byte a weight, a scale of 8 bits every 64."""

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__(inputs, outputs, bias=False, device="meta")
        count = inputs * outputs
        self.weight = nn.Parameter(torch.empty(count // 2, 1, dtype=torch.uint8, device="meta"), requires_grad=False)
        for name, size, dtype in (
            ("absmax", count // 64, torch.uint8),
            ("nested_absmax", -(-count // 64 // 256), torch.float32),
            ("nested_quant_map", 256, torch.float32),
            ("quant_map", 16, torch.float32),
        ):
            self.register_buffer(name, torch.empty(size, dtype=dtype, device="meta"))

    def forward(self, input: Tensor) -> Tensor:
        """The product in bfloat16, given back in the type that came."""
        out = _FourBitProduct.apply(input.to(torch.bfloat16), self.weight, (self.out_features, self.in_features))
        return out.to(input.dtype)


@dataclasses.dataclass(frozen=True, slots=True)
class Step:
    """Bytes of one process's step: what lies there throughout, and what the passes need on top of it."""

    base: int  # the language model's frozen weights
    unquantised: int  # of these, what sharding can share out
    layer: int  # of these, one decoder layer's
    encoder: int  # the frozen volume encoder's weights and its bfloat16 copies
    trained: int  # weights that are trained, float32
    gradients: int
    optimizer: int
    views: int  # image, crops and masks of one study
    kept: int  # activations kept for the backward pass: visual modules and layers' inputs
    passes: int  # the peak of forward and backward over all the above but `kept`, which it includes

    @property
    def alone(self) -> int:
        """The peak of one process that shares nothing."""
        return self.base + self.encoder + self.trained + self.gradients + self.optimizer + self.views + self.passes


def decoder(recipe: Recipe, dims: dict[str, int], four_bits: bool) -> Any:
    """The decoder with its adapters, without storage, prepared as for training."""
    from transformers import LlamaConfig, LlamaForCausalLM

    spec = recipe.decoder.model_copy(update={"quantization": "nf4" if four_bits else "none"})
    with torch.device("meta"):
        model: Any = LlamaForCausalLM(LlamaConfig(**dims, attn_implementation="sdpa")).to(getattr(torch, spec.dtype))
        if four_bits:
            model.is_loaded_in_4bit = True
            for layer in model.model.layers:
                for parent in (layer.self_attn, layer.mlp):
                    for name, child in list(parent.named_children()):
                        if isinstance(child, nn.Linear):
                            setattr(parent, name, FourBit(child.in_features, child.out_features))
        return prepare_decoder(model, spec, training=True)


def given_storage(module: nn.Module) -> None:
    """Replaces tensors of the meta device by (fake) ones on the CPU."""
    for part in module.modules():
        for name, p in list(part._parameters.items()):
            if p is not None:
                part._parameters[name] = nn.Parameter(torch.empty(p.shape, dtype=p.dtype), requires_grad=p.requires_grad)
        for name, b in list(part._buffers.items()):
            if b is not None:
                part._buffers[name] = torch.empty(b.shape, dtype=b.dtype)


@contextlib.contextmanager
def gpu_autocast() -> Iterator[None]:
    """bfloat16 as on a GPU, where layer norms are computed in float32."""
    norm = F.layer_norm

    def in_float32(x: Tensor, *args: Any, **kwargs: Any) -> Tensor:
        return norm(x.float(), *args, **kwargs)

    with mock.patch.object(F, "layer_norm", in_float32), torch.autocast("cpu", dtype=torch.bfloat16):
        yield


def size(tensors: Iterable[Tensor]) -> int:
    """Bytes of tensors."""
    return sum(t.numel() * t.element_size() for t in tensors)


def step(recipe: Recipe, dims: dict[str, int], four_bits: bool, length: int) -> Step:
    """Runs one training step of batch 1 at `length` ids on fake tensors, in the middle of an accumulation."""
    language = decoder(recipe, dims, four_bits)
    with torch.device("meta"):
        visual = VisualModel(recipe, dims["hidden_size"])
    with FakeTensorMode():
        given_storage(language)
        given_storage(visual)
        return counted(language, visual, recipe, length)


def counted(language: Any, visual: VisualModel, recipe: Recipe, length: int) -> Step:
    """The same of modules that have storage, fake or real."""
    live, modules = Live(), nn.ModuleList([language, visual]).train()
    trained = [p for p in modules.parameters() if p.requires_grad]
    for parameter in trained:
        parameter.grad = torch.empty_like(parameter)
    for tensor in [*modules.parameters(), *modules.buffers(), *(p.grad for p in trained)]:
        live.add(tensor)  # or a view of a weight would count as made by the step
    with live:
        views = [torch.empty(n, 1, *recipe.views.size) for n in (1, len(REGIONS), len(REGIONS))]
        copies = live.now
        with gpu_autocast():
            visual.encode(views[0])  # what a frozen encoder computes from its weights stays from here on
        copies = live.now - copies
        kept, passes = _passes(live, language, visual, views, length)
    base = [t for n, t in [*language.named_parameters(), *language.named_buffers()] if "lora_" not in n]
    layers = language.get_base_model().model.layers
    packed = [t for t in base if t.dtype == torch.uint8]
    return Step(
        base=size(base),
        unquantised=size(base) - size(packed),
        layer=size(p for n, p in layers[0].named_parameters() if "lora_" not in n and p.dtype != torch.uint8),
        encoder=size(visual.volume_encoder.parameters()) + copies,
        trained=size(trained),
        gradients=size(trained),
        optimizer=2 * size(trained),
        views=size(views),
        kept=kept,
        passes=passes,
    )


def _passes(live: Live, language: Any, visual: VisualModel, views: list[Tensor], length: int) -> tuple[int, int]:
    """Forward, loss and backward: what is kept between them, and the peak, over what lay there before."""
    start = live.peak = live.now
    prompt = WORDS + TAGS + visual.image_tokens + len(REGIONS) * visual.region_tokens
    with gpu_autocast():
        seen = visual(*views)
        width = seen.image.shape[-1] if seen.image is not None else 0
        words = language.get_input_embeddings()(torch.zeros(1, length - prompt + WORDS, dtype=torch.long))
        rows = [visual.image_tags, *[visual.region_tags] * len(REGIONS), *seen.image, *seen.regions]  # type: ignore[misc]
        table = torch.cat([r.reshape(-1, width) for r in rows]).to(words.dtype)
        embeds = torch.cat([words, table[None]], dim=1)
        assert embeds.shape[1] == length, embeds.shape
        del seen, rows, table, words
        target = length - prompt + 1
        with mock.patch(MASKS, lambda *_, **__: None):  # one study needs none, which can't be seen from fake tensors
            logits = language(inputs_embeds=embeds, use_cache=False, logits_to_keep=target).logits
        del embeds
        kept = live.now - start - size([logits])
        losses, weights = nll(logits, torch.zeros(1, target, dtype=torch.long), torch.ones(1, target))
        del logits
    (losses / weights).sum().backward()
    return kept, live.peak - start
