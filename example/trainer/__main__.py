"""The Python half: one JSON request on standard input, one JSON reply on standard output."""

import json
import platform
import sys

import numpy
import rapidfuzz
import scipy
from trainer import audio, transcript


def check(request: dict) -> dict:
    node = request["node"]
    hertz = audio.pitch(audio.tone(node["hertz"]))
    note = audio.note(hertz)
    errors = transcript.word_errors(request["said"], request["heard"])
    return {
        "python": platform.python_version(),
        "wheels": {wheel.__name__: wheel.__version__ for wheel in (numpy, scipy, rapidfuzz)},
        "note": note,
        "hertz": round(hertz, 3),
        "wordErrors": errors,
        "speechSeconds": round(audio.seconds(audio.speak(request["said"])), 2),
        "agrees": note == node["note"] and errors == node["wordErrors"],
    }


def speak(request: dict) -> dict:
    return {"wav": audio.wav_base64(audio.speak(request["text"]))}


if __name__ == "__main__":
    request = json.load(sys.stdin)
    json.dump({"check": check, "speak": speak}[request["task"]](request), sys.stdout)
