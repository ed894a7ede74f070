"""Synthesize tones, find their pitch, and speak sentences, as float arrays with RATE samples per second."""

import base64
import io
import math
import subprocess
import wave

import numpy as np
from scipy import fft, ndimage

RATE = 22050


def synthesize_tone(hertz: float, duration: float = 1.0) -> np.ndarray:
    """Return a tone with overtones and some noise, like that of a voice or an instrument."""
    times = np.arange(int(RATE * duration)) / RATE
    tone = np.random.default_rng(0).normal(0, 0.2, times.size)
    for overtone in (1, 2, 3):
        wave_form = np.sin(2 * np.pi * hertz * overtone * times)
        tone += wave_form / overtone
    return tone


def find_pitch(samples: np.ndarray) -> float:
    """Return the strongest frequency, more precise than the steps of the FFT: the top of a parabola at the peak."""
    window = np.hanning(samples.size)
    magnitudes = np.abs(fft.rfft(samples * window))
    spectrum = np.log(magnitudes + 1e-12)
    peak = int(spectrum[1:-1].argmax()) + 1
    before, top, after = spectrum[peak - 1 : peak + 2]
    offset = 0.5 * (before - after) / (before - 2 * top + after)
    return (peak + offset) * RATE / samples.size


def nearest_note(hertz: float) -> int:
    """Return the MIDI number of the nearest note (A4 = 69)."""
    octaves = math.log2(hertz / 440)
    return round(69 + 12 * octaves)


def speak_text(text: str) -> np.ndarray:
    """Return the text as spoken by espeak-ng, without silence before and after it, at an even level."""
    spoken = subprocess.run(
        ["espeak-ng", "-v", "en", "-s", "150", "--stdin", "--stdout"],
        input=text.encode(),
        capture_output=True,
        check=True,
        timeout=10,
    ).stdout
    with wave.open(io.BytesIO(spoken)) as clip:
        assert clip.getframerate() == RATE, clip.getparams()
        # The header of a stream does not have its length
        samples = np.frombuffer(clip.readframes(clip.getnframes()), "<i2") / 32768
    loudness = ndimage.uniform_filter1d(np.abs(samples), RATE // 50)
    (loud,) = np.nonzero(loudness > 0.02 * loudness.max())
    samples = samples[loud[0] : loud[-1] + 1]
    highest = np.abs(samples).max()
    return 0.9 * samples / highest


def count_seconds(samples: np.ndarray) -> float:
    return samples.size / RATE


def encode_wav(samples: np.ndarray) -> str:
    file = io.BytesIO()
    with wave.open(file, "wb") as clip:
        clip.setparams((1, 2, RATE, 0, "NONE", ""))
        clip.writeframes((samples * 32767).astype("<i2").tobytes())
    return base64.b64encode(file.getvalue()).decode()
