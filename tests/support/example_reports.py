"""Make reports of builds for the HTML page."""

from __future__ import annotations

import json
from typing import Any

START = 1_790_000_000.0


def make_report(*, start: float = START, code: float = 27.0, **fields: Any) -> str:
    """Return the report of a build in which the code changed; `code` are the seconds of its stage."""
    builder = [
        {"name": "COPY . .", "cached": False, "seconds": 1.0, "intervals": [[start + 4, start + 5]]},
        {"name": "RUN npm run build", "cached": False, "seconds": code, "intervals": [[start + 5, start + 5 + code]]},
    ]
    pulled = [{"name": "RUN apt-get install", "cached": True, "seconds": 4.0, "intervals": [[start, start + 4]]}]
    end = start + 5 + code
    runtime = [
        {"name": "COPY --from=builder /app /app", "cached": False, "seconds": 2.0, "intervals": [[end, end + 2]]}
    ]
    reason = {"kind": "file-changed", "what": "`app/<page>.tsx` +1 line"}
    document = {
        "image": "ghcr.io/acme/shop:latest",
        "tags": ["ghcr.io/acme/shop:latest", "ghcr.io/acme/shop:main-1a2b3c4"],
        "digest": f"sha256:{'0' * 64}",
        "stages": [
            make_stage("base", "restored", 4.0, pulled, pulled_bytes=2_400_000_000),
            make_stage("python-deps-with-a-long-name", "restored", 0.0, []),
            make_stage("builder", "rebuilt", 1 + code, builder, [reason], saved=True),
            make_stage(
                "runtime", "rebuilt", 2.0, runtime, [{"kind": "parent-rebuilt", "what": "builder"}], saved=False
            ),
            make_stage("tests", "unused", 0.0, []),
        ],
        "seconds": {"ship": 7 + code, "save": 3.0},
        "bytes": {"pulled": 2_400_000_000, "pushed": 34_000_000},
        "versions": {"buildkit": "0.35.1", "buildx": "0.38.2"},
        "warnings": ["a warning <with> marks"],
    }
    return json.dumps({**document, **fields})


def make_stage(
    name: str,
    status: str,
    seconds: float,
    steps: list[dict[str, Any]],
    reasons: list[dict[str, str]] | None = None,
    *,
    pulled_bytes: int = 0,
    saved: bool | None = None,
) -> dict[str, Any]:
    return {
        "name": name,
        "status": status,
        "seconds": seconds,
        "reasons": reasons or [],
        "steps": steps,
        "cache": None if saved is None else {"ref": "r", "saved": saved, "bytes": 0},
        "bytes": {"pulled": pulled_bytes, "unpacked": pulled_bytes, "pushed": 0},
    }
