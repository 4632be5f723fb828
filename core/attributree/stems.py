"""Words without their endings, so that one tile and several tiles are compared as the same."""

from __future__ import annotations


def stem(word: str) -> str:
    """Return `word` without the ending of a plural, s or es; y and ie are one.

    >>> [stem(word) for word in ("tiles", "glasses", "seamless", "ruffle", "berries", "cookie")]
    ['tile', 'glass', 'seamless', 'ruffle', 'berry', 'cooky']
    """
    if len(word) > 3 and word.endswith("s") and not word.endswith(("ss", "us", "is")):
        word = word[:-2] if word.endswith(("sses", "xes", "ches", "shes")) else word[:-1]
    return word[:-2] + "y" if len(word) > 3 and word.endswith("ie") else word
