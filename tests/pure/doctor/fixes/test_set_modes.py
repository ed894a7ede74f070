"""Let COPY set the mode of single files."""

from __future__ import annotations

import pytest

from stagebake.dockerfile.stages import parse_dockerfile
from stagebake.doctor.fixes.edit import apply_edit
from stagebake.doctor.fixes.set_modes import propose_modes
from stagebake.doctor.proof.document import Document

FILES = {"run.sh": 0o644, "bin/tool": 0o640, "etc/a": 0o644, "etc/b": 0o644}


def fix(lines: str) -> str:
    """Return the lines of a stage after the first edit."""
    text = f"FROM debian\n{lines}"
    graph = parse_dockerfile(text)
    document = Document(text=text, graph=graph, files=frozenset(FILES), find_mode=FILES.get)
    edit = next(propose_modes(document, graph.final), None)
    if edit is None:
        return lines
    assert edit.is_safe
    return apply_edit(text, edit).removeprefix("FROM debian\n")


@pytest.mark.parametrize(
    ("lines", "fixed"),
    [
        ("COPY run.sh /run.sh\nRUN chmod +x /run.sh\n", "COPY --chmod=755 run.sh /run.sh\n"),
        ("COPY run.sh /\nENV A=b\nRUN chmod 0700 /run.sh && ./x\n", "COPY --chmod=0700 run.sh /\nENV A=b\nRUN ./x\n"),
        (
            "WORKDIR /app\nCOPY --chown=1:2 ./run.sh .\nCOPY bin/tool /x/tool\nRUN chmod a+x run.sh\n",
            "WORKDIR /app\nCOPY --chmod=755 --chown=1:2 ./run.sh .\nCOPY bin/tool /x/tool\n",
        ),
        (
            "COPY run.sh /a\nCOPY bin/tool /b\nRUN chmod 755 /a /b\n",
            "COPY --chmod=755 run.sh /a\nCOPY --chmod=755 bin/tool /b\n",
        ),
    ],
)
def test_mode_of_a_file_is_set_by_its_copy(lines: str, fixed: str) -> None:
    assert fix(lines) == fixed


@pytest.mark.parametrize(
    "lines",
    [
        "COPY run.sh /x/run.sh\nRUN chmod 700 /x/run.sh\n",
        "COPY bin/tool /x/tool\nRUN chmod +x /x/tool\n",
        "COPY run.sh /run.sh\nRUN ./x\nRUN chmod +x /run.sh\n",
        "COPY run.sh /run.sh\nRUN ./x && chmod +x /run.sh\n",
        "COPY run.sh /run.sh\nRUN chmod u+x,g-w /run.sh\n",
        "COPY run.sh /run.sh\nRUN chmod -R 755 /run.sh\n",
        "COPY etc /etc/\nRUN chmod 600 /etc/a\n",
        "COPY etc/a etc/b /x/\nRUN chmod 755 /x/a\n",
        "COPY missing.sh /run.sh\nRUN chmod +x /run.sh\n",
        "COPY --link run.sh /run.sh\nRUN chmod +x /run.sh\n",
        "COPY --from=other.test/image:1 run.sh /run.sh\nRUN chmod +x /run.sh\n",
        "COPY run.sh /run.sh\nCOPY . /\nRUN chmod +x /run.sh\n",
        "COPY run.sh /run.sh\nUSER web\nRUN chmod +x /run.sh\n",
        "COPY run.sh /run.sh\nRUN chmod 755 /run.sh /other\n",
        "COPY run.sh /run.sh\nRUN chmod 4755 /run.sh\n",
    ],
)
def test_mode_that_is_not_certain_stays(lines: str) -> None:
    assert fix(lines) == lines
