"""Part assemble: the decoder's input embeddings of one study from ids and the visual table, encoders excluded.

2,048 ids over 32,000 words and 366 visual rows of width 4,096, float32. Limit: a copy of the result. Plain way: the table put
together, ids one-hot, one product.
"""

from __future__ import annotations

import torch
from torch.nn import functional as F

from reg2rg.model.composite import assemble

from .timing import Row, Settings, against, measure

WORDS, ROWS, WIDTH, LENGTH = 32_000, 366, 4096, 2048


@torch.inference_mode()
def run(variant: str, settings: Settings) -> Row:
    """The part's row."""
    words, rows, width, length = (200, 46, 32, 128) if settings.quick else (WORDS, ROWS, WIDTH, LENGTH)
    torch.manual_seed(0)
    vocabulary = torch.nn.Embedding(words, width)
    table = torch.randn(1, rows, width)
    ids = torch.randint(0, words, (1, length))
    ids[0, : rows - 4] = torch.arange(words + 4, words + rows)  # each visual token stands in the text once
    result = assemble(ids, vocabulary, table, words)
    copy = torch.empty_like(result)
    row = measure(lambda: assemble(ids, vocabulary, table, words), lambda: copy.copy_(result), 3 * settings.runs)
    if not settings.plain:
        return row
    whole = torch.cat([vocabulary.weight, table[0]])

    def one_hot() -> torch.Tensor:
        return F.one_hot(ids, words + rows).float() @ whole

    row["difference"] = float((one_hot() - result).abs().max())
    return against(row, one_hot, 3)
