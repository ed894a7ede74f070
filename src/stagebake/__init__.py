"""Per-stage Docker build caches that work."""

import sys

# `python -m stagebake` puts the working folder first on the path (docs.python.org/3/using/cmdline.html#cmdoption-m).
# A repository may have files there with the names of Python's modules. While this package is found, sys.argv is `-m`.
if sys.argv[:1] == ["-m"] and not sys.flags.safe_path:
    del sys.path[0]
