"""Tones, their pitch, and spoken sentences, as float arrays at RATE samples a second."""

import base64
import io
import math
import subprocess
import wave

import numpy as np
from scipy import fft, ndimage

RATE = 22050


def tone(hertz: float, duration: float = 1.0) -> np.ndarray:
    """A note with overtones and some noise, as a voice or an instrument would give."""
    t = np.arange(int(RATE * duration)) / RATE
    partials = sum(np.sin(2 * np.pi * hertz * k * t) / k for k in (1, 2, 3))
    return partials + np.random.default_rng(0).normal(0, 0.2, t.size)


def pitch(samples: np.ndarray) -> float:
    """The strongest frequency, finer than the FFT's own step by fitting a parabola to the peak."""
    spectrum = np.log(np.abs(fft.rfft(samples * np.hanning(samples.size))) + 1e-12)
    k = int(spectrum[1:-1].argmax()) + 1
    before, peak, after = spectrum[k - 1 : k + 2]
    return (k + 0.5 * (before - after) / (before - 2 * peak + after)) * RATE / samples.size


def note(hertz: float) -> int:
    """The nearest note's MIDI number (A4 = 69)."""
    return round(69 + 12 * math.log2(hertz / 440))


def speak(text: str) -> np.ndarray:
    """The text spoken by espeak-ng, without the silence before and after, at an even level."""
    spoken = subprocess.run(
        ["espeak-ng", "-v", "en", "-s", "150", "--stdin", "--stdout"],
        input=text.encode(),
        capture_output=True,
        check=True,
        timeout=10,
    ).stdout
    with wave.open(io.BytesIO(spoken)) as clip:
        assert clip.getframerate() == RATE, clip.getparams()
        # A stream's header cannot know its length: read what is there.
        samples = np.frombuffer(clip.readframes(clip.getnframes()), "<i2") / 32768
    loudness = ndimage.uniform_filter1d(np.abs(samples), RATE // 50)
    (loud,) = np.nonzero(loudness > 0.02 * loudness.max())
    samples = samples[loud[0] : loud[-1] + 1]
    return 0.9 * samples / np.abs(samples).max()


def seconds(samples: np.ndarray) -> float:
    return samples.size / RATE


def wav_base64(samples: np.ndarray) -> str:
    file = io.BytesIO()
    with wave.open(file, "wb") as clip:
        clip.setparams((1, 2, RATE, 0, "NONE", ""))
        clip.writeframes((samples * 32767).astype("<i2").tobytes())
    return base64.b64encode(file.getvalue()).decode()
