"""Run in the stage that makes the files what the final stage does to a copy of them."""

from __future__ import annotations

import pytest

from tests.support.fixes import fix_text

BUILD = "FROM a AS build\nWORKDIR /src\nCOPY . .\nRUN make\n"


@pytest.mark.parametrize(
    ("run", "copy", "task", "left"),
    [
        ("npm prune --omit=dev", "/src /app", "npm prune --omit=dev", ""),
        ("npm prune && ./test", "/src/node_modules node_modules", "npm prune", "RUN ./test\n"),
        ("chmod +x /app/bin/*", "/src/out /app", "chmod +x /src/out/bin/*", ""),
        ("rm -rf tests", "/src/out /app", "rm -rf /src/out/tests", ""),
    ],
)
def test_task_runs_in_the_stage_and_says_what_changes(run: str, copy: str, task: str, left: str) -> None:
    copies = f"COPY --from=build --chmod=1 /x /x\nCOPY --from=build {copy}\n"
    text = f"{BUILD}FROM b\nWORKDIR /app\n{copies}RUN ./x\nRUN {run}\n"
    fixed, (edit,) = fix_text(text, unsafe=True)
    final = text.removeprefix(BUILD).replace(f"RUN {run}\n", left)
    assert fixed == f"{BUILD}RUN {task}\n{final}"
    assert edit.changes
    assert fix_text(text) == (text, [])


@pytest.mark.parametrize(
    "text",
    [
        f"{BUILD}USER web\nFROM b\nWORKDIR /app\nCOPY --from=build /src /app\nRUN npm prune\n",
        f"{BUILD}FROM b\nWORKDIR /app\nCOPY --from=build /src/dist /app\nRUN npm prune\n",
        f"{BUILD}FROM b\nWORKDIR /app\nCOPY . /app\nRUN npm prune\n",
        f"{BUILD}FROM build\nWORKDIR /app\nCOPY --from=build /src /app\nRUN npm prune\n",
        f"{BUILD}FROM b\nWORKDIR /app\nCOPY --from=build /src /app\nCOPY more /app/more\nRUN rm -rf /app\n",
        f"{BUILD}FROM b\nWORKDIR /app\nCOPY --from=build /src /app\nRUN rm -rf /app\n",
        f"{BUILD}FROM b AS other\nCOPY --from=build /src /x\nFROM b\nCOPY --from=other /x /y\n"
        "COPY --from=build /src /app\nRUN chmod +x /app/run\n",
    ],
)
def test_task_without_a_stage_of_its_own_stays(text: str) -> None:
    edits = [edit for edit in fix_text(text, unsafe=True)[1] if edit.rules[0] != "copy-link"]
    assert edits == []
