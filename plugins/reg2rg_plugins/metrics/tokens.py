"""Words as each metric counts them: mteval-13a for BLEU, rouge_score's for ROUGE, NLTK's for METEOR.

Each is exact against its library (tests compare them) and caches what recurs: reports repeat words and sentences a lot.
"""

from __future__ import annotations

import functools
import re

Tokens = tuple[str, ...]

_13A = (
    (re.compile(r"([\{-\~\[-\` -\&\(-\+\:-\@\/])"), r" \1 "),
    (re.compile(r"([^0-9])([\.,])"), r"\1 \2 "),
    (re.compile(r"([\.,])([^0-9])"), r" \1 \2"),
    (re.compile(r"([0-9])(-)"), r"\1 \2 "),
)
_ENTITIES = (("&quot;", '"'), ("&amp;", "&"), ("&lt;", "<"), ("&gt;", ">"))
_NOT_ALPHANUMERIC = re.compile(r"[^a-z0-9]+")


@functools.lru_cache(maxsize=1 << 16)
def _word_13a(word: str) -> Tokens:
    text = f" {word} "
    for pattern, replacement in _13A:
        text = pattern.sub(replacement, text)
    return tuple(text.split())


def tokens_13a(text: str) -> list[str]:
    """The tokens of mteval-v13a, case kept.

    Its rules look one character to each side, so words between blanks can be cut one by one: that is what is cached.
    """
    text = text.replace("<skipped>", "").replace("-\n", "")
    if "&" in text:
        for entity, character in _ENTITIES:
            text = text.replace(entity, character)
    return [token for word in text.split() for token in _word_13a(word)]


def tokens_rouge(text: str) -> list[str]:
    """The tokens of rouge_score without stemming: runs of a-z and 0-9, lower case."""
    return _NOT_ALPHANUMERIC.sub(" ", text.lower()).split()


@functools.lru_cache(maxsize=1)
def _treebank() -> object:
    from nltk.tokenize.destructive import NLTKWordTokenizer

    return NLTKWordTokenizer()


@functools.lru_cache(maxsize=1 << 15)
def _sentence_nltk(sentence: str) -> Tokens:
    return tuple(_treebank().tokenize(sentence))  # type: ignore[attr-defined]


@functools.lru_cache(maxsize=1 << 12)
def tokens_nltk(text: str) -> Tokens:
    """The tokens of NLTK's `word_tokenize`: Punkt sentences (English), then Treebank words; case kept."""
    import punkt

    return tuple(token for sentence in punkt.sent_tokenize(text) for token in _sentence_nltk(sentence))
