"""Answer one JSON request from standard input with a JSON reply on standard output: the Python half."""

import json
import platform
import sys

import numpy
import rapidfuzz
import scipy
from trainer import audio, transcript


def check_health(request: dict) -> dict:
    """Return what Python computes for the note and the transcript of Node, and whether both agree."""
    node = request["node"]
    tone = audio.synthesize_tone(node["hertz"])
    hertz = audio.find_pitch(tone)
    note = audio.nearest_note(hertz)
    errors = transcript.count_word_errors(request["said"], request["heard"])
    speech = audio.speak_text(request["said"])
    wheels = (numpy, scipy, rapidfuzz)
    return {
        "python": platform.python_version(),
        "wheels": {wheel.__name__: wheel.__version__ for wheel in wheels},
        "note": note,
        "hertz": round(hertz, 3),
        "wordErrors": errors,
        "speechSeconds": round(audio.count_seconds(speech), 2),
        "agrees": note == node["note"] and errors == node["wordErrors"],
    }


def speak_sentence(request: dict) -> dict:
    speech = audio.speak_text(request["text"])
    return {"wav": audio.encode_wav(speech)}


TASKS = {"check": check_health, "speak": speak_sentence}


if __name__ == "__main__":
    request = json.load(sys.stdin)
    run_task = TASKS[request["task"]]
    json.dump(run_task(request), sys.stdout)
