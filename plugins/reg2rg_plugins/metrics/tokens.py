"""Words as each metric counts them: mteval-13a for BLEU, rouge_score's for ROUGE, NLTK's for METEOR.

Each is exact against its library (tests compare them) and caches what recurs: reports repeat words and sentences a lot.
"""

from __future__ import annotations

import functools
import itertools
import re
from typing import Any

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


# Sentences end, and words are cut, by what stands in and right behind a word; these forms look further:
_FAR = re.compile(r"""["'`]|--|\.\.|(?:^|\s)[.?!)\]}>]+(?:\s|$)|[^ -~\n\t\r]""")
_FAR_IN_SENTENCE = re.compile(r"""["'`]|(?:^|\s)[.)\]}> ]+$|[^ -~\n\t\r]""")
_STOP = re.compile(r"[.?!](?:\W|$)")


@functools.lru_cache(maxsize=1)
def _treebank() -> Any:
    from nltk.tokenize.destructive import NLTKWordTokenizer

    return NLTKWordTokenizer()


@functools.lru_cache(maxsize=1 << 16)
def _inner(word: str) -> Tokens:
    """The tokens of a word inside a sentence."""
    return tuple(_treebank().tokenize(f"a {word} a")[1:-1])


@functools.lru_cache(maxsize=1 << 16)
def _final(word: str) -> Tokens:
    """The tokens of a sentence's last word."""
    return tuple(_treebank().tokenize(f"a {word}")[1:])


@functools.lru_cache(maxsize=1 << 16)
def _may_end(word: str) -> bool:
    return _STOP.search(word) is not None


@functools.lru_cache(maxsize=1 << 16)
def _ends(word: str, following: str) -> bool | None:
    """Whether a sentence ends between two words (or the text does: `following` is empty); None where one ends inside them."""
    import punkt

    parts = punkt.sent_tokenize(f"a {word} {following} a" if following else f"a {word}")
    if len(parts) == 1:
        return False
    return True if parts[0] == f"a {word}" and len(parts) == 2 else None


def _words(words: list[str]) -> list[str]:
    tokens = [token for word in words[:-1] for token in _inner(word)]
    tokens += _final(words[-1])
    return tokens


@functools.lru_cache(maxsize=1 << 14)
def _sentence(text: str) -> Tokens:
    return tuple(_treebank().tokenize(text) if _FAR_IN_SENTENCE.search(text) else _words(text.split()))


def _by_words(text: str) -> Tokens | None:
    """The tokens of a text whose sentences show word by word, or None."""
    words, start = text.split(), 0
    tokens: list[str] = []
    for at, (word, following) in enumerate(itertools.zip_longest(words, words[1:], fillvalue=""), start=1):
        if _may_end(word):
            end = _ends(word, following)
            if end is None:
                return None
            if end:
                tokens += _words(words[start:at])
                start = at
    return tuple(tokens + _words(words[start:])) if words else ()


@functools.lru_cache(maxsize=1 << 12)
def tokens_nltk(text: str) -> Tokens:
    """The tokens of NLTK's `word_tokenize`: Punkt sentences (English), then Treebank words; case kept."""
    import punkt

    tokens = None if _FAR.search(text) else _by_words(text)
    return tuple(t for s in punkt.sent_tokenize(text) for t in _sentence(s)) if tokens is None else tokens
