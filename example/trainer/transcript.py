"""Scoring of what a learner wrote down; the same measure as lib/score.ts, found another way."""

import re

from rapidfuzz.distance import Levenshtein


def word_errors(said: str, heard: str) -> int:
    said_words, heard_words = (re.findall(r"[a-z0-9']+", text.lower()) for text in (said, heard))
    return Levenshtein.distance(said_words, heard_words)
