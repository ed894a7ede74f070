"""Count the errors of a transcript: the same measure as lib/score.ts, computed in another way."""

import re

from rapidfuzz.distance import Levenshtein


def count_word_errors(said: str, heard: str) -> int:
    return Levenshtein.distance(_split_words(said), _split_words(heard))


def _split_words(text: str) -> list[str]:
    return re.findall(r"[a-z0-9']+", text.lower())
