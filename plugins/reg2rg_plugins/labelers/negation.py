"""Whether a mention in a clause is denied: words before it, denying verbs after it, and what only looks like a denial."""

from __future__ import annotations

import re


def _any(*alternatives: str) -> str:
    return "(?:" + "|".join(alternatives) + ")"


_SEEN = _any(
    r"observ\w*", r"detect\w*", "seen", "see", "found", "find", "present", r"identif\w*", r"visuali[sz]ed", "visible", "noted",
    "noticed", "encountered", "determined", r"distinguish\w*", r"discern\w*", "followed", r"select\w*", "demonstrated", "shown",
    "evident", "available", "apparent", "monitored", "watched", r"appear\w*", "mentioned", r"exist\w*",
    "reported", r"accompan\w*",
)  # fmt: skip
_JUDGED = _any(
    r"exclud\w*", "ruled out", r"evaluat\w*", r"assess\w*", r"differentiat\w*", r"distinguish\w*", r"separat\w*", r"clear\w*",
    "made", "make", r"measur\w*", r"select\w*", r"examin\w*", r"perform\w*",
)  # fmt: skip

# Looks like a denial, but the thing is there: "no significant change in the nodules", "effusion not observed before".
_PSEUDO = re.compile(
    _any(
        r"\bnot? (?:\w+[- ]){0,4}?(?:chang\w*|differ\w*|progress\w*|regress\w*|stable|growth)\b",
        r"\bno (?:\w+ ){0,3}?(?:increase|decrease) in (?:the |their |its )?(?:number|size|dimension|amount|diameter)\w*",
        rf"\b(?:can|could)(?: ?not|n't) be (?:\w+ )?{_JUDGED}",
        rf"\b(?:not|n't) (?:\w+ly )?{_SEEN} (?:in|on|at|during) (?:the |his |her |this )?"
        r"(?:\w+ )?(?:previous|prior|old|former|last)",
        r"\bnot? (?:\w+ )?(?:reach\w*|exceed\w*|evaluat\w*|given|optimal\w*|clear\w*|exclud\w*|known|ruled out|only)\b",
        r"\bdid not reach\b",
        r"\bnot in pathological\b",
        r"\bwith or without\b",
        r"\bno doubt\b",
    )
)
_BEFORE = re.compile(
    r"\b"
    + _any(
        "no", "without", "neither", "nor", "absence of", "absent", "free of", "free from", "negative for", "lack of", "n't",
        "not (?:show|contain|include|have|reveal)", "(?:is|are|was|were) not(?= (?:any|a|an)\\b)",
    )
    + r"\b"
)  # fmt: skip
_AFTER = re.compile(
    _any(
        rf"\b(?:(?:is|are|was|were|be|been|has|have|had|could|can|did|does|do) ?not|n't|cannot|not|no longer)"
        rf"(?: be| been| have been)? ?(?:\w+ly )?(?:be )?{_SEEN}\b",
        r"\b(?:is|are|was|were) absent\b",
        r"\b(?:none|nothing)\b",
        r"\bdisappear\w*",
        r"\bcomplete(?:ly)? (?:regress\w*|resol\w*|resorb\w*)",
        r"\b(?:complete|full|total) (?:regression|resolution|resorption)",
        r"\b(?:fully|totally) (?:regress\w*|resol\w*)",
        r"\b(?:was|were|is|are|has|have) (?:been )?resolved\b",
    )
)


def quiet(clause: str) -> str:
    """The clause with what only looks like a denial blanked out, its length kept."""
    return _PSEUDO.sub(lambda match: "_" * len(match.group()), clause)


def denied(quiet_clause: str, start: int, end: int) -> bool:
    """Whether the mention at start:end of a `quiet` clause is denied."""
    return _BEFORE.search(quiet_clause, 0, start) is not None or _AFTER.search(quiet_clause, end) is not None
