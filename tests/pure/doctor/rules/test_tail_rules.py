"""Check the rules about the end of the final stage."""

from __future__ import annotations

import pytest

from tests.support.findings import examine_text, only_finding, rule_names

BUILD = "FROM node AS build\nWORKDIR /app\nCOPY . .\nRUN node build.js\nFROM node:slim\n"


@pytest.mark.parametrize(
    ("end", "fix"),
    [
        (
            "WORKDIR /app\nCOPY --from=build /app /app\nRUN chown -R node:node /app\n",
            ("RUN mkdir -p /app && chown node:node /app", "COPY --chown=node:node --from=build /app /app"),
        ),
        (
            "COPY --from=build /app /srv\nRUN chown -R 1000 /srv && make\n",
            ("RUN mkdir -p /srv && chown 1000 /srv", "COPY --chown=1000:root --from=build /app /srv", "RUN make"),
        ),
        (
            "COPY --from=build /app /srv\nRUN useradd web && chown -R web: /srv\n",
            (
                "RUN useradd web && mkdir -p /srv && chown web: /srv",
                "COPY --chown=web:web --from=build /app /srv",
            ),
        ),
        (
            "COPY --from=build /app /srv\nRUN chmod -R 755 /srv\n",
            ("RUN mkdir -p /srv && chmod 755 /srv", "COPY --chmod=755 --from=build /app /srv"),
        ),
        ("COPY --from=build /app /srv\nRUN chmod -R g+w /srv\n", ()),
        ("WORKDIR /srv\nRUN npm i x\nCOPY --from=build /app /srv\nRUN chown -R web:web /srv\n", ()),
        ("COPY --from=build /app /srv\nRUN chown -R web:web /srv || true\n", ()),
    ],
    ids=["name", "number", "with-user", "mode", "symbolic-mode", "other-files", "condition"],
)
def test_late_owner_changes_are_set_in_the_copy(end: str, fix: tuple[str, ...]) -> None:
    assert only_finding("chown-after-copy", examine_text(BUILD + end)).fix == fix


def test_late_owner_changes_of_installed_packages_are_found_through_a_variable() -> None:
    """Each push stores the packages again, although code changes none of them."""
    text = (
        "FROM cuda AS deps\nRUN pip install torch\nFROM node AS build\nCOPY . .\nFROM cuda\nENV VENV=/opt/venv\n"
        "COPY --from=deps /opt/venv ${VENV}\nCOPY --from=build /app /app\n"
        "RUN npm prune --omit=dev && chown -R web:web ${VENV} && chmod +x ${VENV}/bin/*\n"
    )
    findings = examine_text(text)
    found = only_finding("chown-after-copy", findings)
    assert found.fix == (
        "RUN mkdir -p ${VENV} && chown web:web ${VENV}",
        "COPY --chown=web:web --from=deps /opt/venv ${VENV}",
        "RUN npm prune --omit=dev && chmod +x ${VENV}/bin/*",
    )
    assert "run-after-code" not in rule_names(findings)


@pytest.mark.parametrize(
    "end",
    [
        "COPY --from=build /app /app\nRUN chown -R node /data\n",
        "COPY --from=build /app /app\nRUN chown node /app\n",
        "RUN chown -R node /app\nCOPY --from=build /app /app\n",
        "RUN chown -R node /app\n",
    ],
    ids=["elsewhere", "one-folder", "before", "no-copy"],
)
def test_late_owner_changes_without_copied_files_are_not_reported(end: str) -> None:
    assert "chown-after-copy" not in rule_names(examine_text(BUILD + end))


@pytest.mark.parametrize(
    "run",
    ["useradd -u 1001 app", "mkdir -p /data", "mkdir /data && chown 10 /data", "ln -s /app/cli.js /usr/bin/cli"],
)
def test_late_setup_moves_above_the_code(run: str) -> None:
    text = f"{BUILD}COPY --from=build /app /app\nRUN {run}\n"
    found = only_finding("setup-after-code", examine_text(text))
    assert found.fix == (f"RUN {run}", "COPY --from=build /app /app")


@pytest.mark.parametrize(
    "end",
    [
        "RUN ln -s /app/bin/* /usr/bin/\n",
        "RUN corepack install\n",
        "RUN mkdir $DATA\n",
        "USER app\nRUN mkdir /tmp/x\n",
        "RUN chown app /app/data\n",
        "WORKDIR /app\nRUN mkdir -p data && chown -R app data\n",
        "RUN mkdir /data && /app/install\n",
    ],
    ids=["links-code", "reads-manifest", "unknown", "other-user", "in-code", "relative", "runs-code"],
)
def test_late_setup_that_needs_the_code_is_not_reported(end: str) -> None:
    assert "setup-after-code" not in rule_names(examine_text(f"{BUILD}COPY --from=build /app /app\n{end}"))


@pytest.mark.parametrize("run", ["npm prune --omit=dev", "rm -rf /app/src", "rm -rf /app/.git"])
def test_late_removals_hide_files_of_a_lower_layer(run: str) -> None:
    text = f"{BUILD}WORKDIR /app\nCOPY --from=build /app /app\nRUN {run}\n"
    assert f"`{run}` hides" in only_finding("prune-after-copy", examine_text(text)).problem


def test_late_removals_of_other_files_are_not_reported() -> None:
    text = f"{BUILD}COPY --from=build /app /app\nRUN make && rm -rf /var/log/x\n"
    assert "prune-after-copy" not in rule_names(examine_text(text))


def test_late_runs_say_what_prevents_an_end_of_links() -> None:
    text = f"{BUILD}COPY --from=build /app /app\nRUN node /app/warm.js\nRUN node /app/check.js\n"
    found = only_finding("run-after-code", examine_text(text))
    assert (found.line, found.lines) == (7, (8,))
    assert "lines 7, 8 after the COPY in line 6" in found.problem


def test_late_runs_without_changing_copies_are_not_reported() -> None:
    assert "run-after-code" not in rule_names(examine_text("FROM a\nCOPY package.json .\nRUN make\n"))
