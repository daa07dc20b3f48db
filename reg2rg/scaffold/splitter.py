"""A splitter: a free report to region sentences (here: a sentence belongs to the first region that it names).

In: one report. Out: region → text; each sentence is used at most once, none is invented, the rest is left out.
"""

from __future__ import annotations

import re

from reg2rg.anatomy import REGIONS


class NamedAreas:
    """Sentences by the region's own word, singular or plural."""

    def split(self, report: str) -> dict[str, str]:
        """The sentences of each region that the report names, in the report's order."""
        parts: dict[str, list[str]] = {}
        for sentence in re.split(r"(?<=[.?!])\s+", report.strip()):
            region = next((r for r in REGIONS if re.search(rf"\b{r}s?\b", sentence.lower())), None)
            if region:
                parts.setdefault(region, []).append(sentence)
        return {region: " ".join(sentences) for region, sentences in parts.items()}
