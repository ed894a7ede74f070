"""Move commands above the COPY of changing files; tests/engine/test_fixes.py builds the images before and after."""

from __future__ import annotations

import pytest

from tests.support.fixes import fix_text

FINAL = "FROM a AS build\nWORKDIR /src\nCOPY . .\nRUN make out/\nFROM b\n"


def fix_final(text: str, files: str = "") -> str:
    """Return the final stage after the safe edits."""
    fixed, _ = fix_text(f"{FINAL}{text}", files=files.split())
    assert fixed.startswith(FINAL)
    return fixed.removeprefix(FINAL)


def test_chown_moves_and_copies_get_the_owner() -> None:
    assert fix_final(
        "WORKDIR /app\n# code\nCOPY --from=build /src .\n# owner\nRUN chown -R web:web /app\nUSER web\n"
    ) == (
        "WORKDIR /app\n# owner\nRUN chown -R web:web /app\n# code\nCOPY --chown=web:web --from=build /src .\nUSER web\n"
    )


def test_chown_of_a_missing_folder_makes_it_first() -> None:
    assert fix_final("ENV DIR=/srv/x\nCOPY --from=build /src/out/ $DIR/\nRUN chown -R 1:2 $DIR\n") == (
        "ENV DIR=/srv/x\nRUN mkdir -p $DIR && chown -R 1:2 $DIR\nCOPY --chown=1:2 --from=build /src/out/ $DIR/\n"
    )


def test_chown_in_a_longer_run_leaves_the_rest() -> None:
    text = "WORKDIR /app\nCOPY --from=build /src .\nRUN chown -R web:web /app \\\n  # tested\n  && ./test --all\n"
    assert fix_final(text) == (
        "WORKDIR /app\nRUN chown -R web:web /app\nCOPY --chown=web:web --from=build /src .\nRUN ./test --all\n"
    )


def test_chown_past_a_prune_that_works_elsewhere() -> None:
    copies = "COPY --from=build /src .\nCOPY --from=build /src/env/ /env/\n"
    text = f"WORKDIR /app\n{copies}RUN npm prune && chown -R a:b /env\n"
    assert "RUN mkdir -p /env && chown -R a:b /env\n" in fix_final(text)
    assert fix_final(text).endswith("RUN npm prune\n")
    assert fix_final(text.replace("npm prune", "./prune")) == text.replace("npm prune", "./prune")


@pytest.mark.parametrize(
    "text",
    [
        "WORKDIR /app\nCOPY --from=build /src .\nRUN chown -R web /app\n",
        "WORKDIR /app\nCOPY --from=build /src .\nRUN chown -R web: /app\n",
        "WORKDIR /app\nCOPY --from=build /src .\nRUN chown -R $OWNER /app\n",
        "ARG OWNER\nWORKDIR /app\nCOPY --from=build /src .\nRUN chown -R $OWNER:x /app\n",
        "WORKDIR /app\nCOPY --link --from=build /src .\nRUN chown -R web:web /app\n",
        "WORKDIR /app\nADD x.tar.gz .\nRUN chown -R web:web /app\n",
        "WORKDIR /app\nCOPY --from=build /src .\nCOPY <<EOF x\ny\nEOF\nRUN chown -R web:web /app\n",
        "COPY --from=build /src/program /program\nRUN chown -R web:web /program\n",
        "COPY --chown=1:1 --from=build /src/ /srv/x/app/\nRUN chown -R web:web /srv/x\n",
        "WORKDIR /app\nCOPY --from=build /src .\nSHELL [\"/bin/bash\", \"-c\"]\nRUN chown -R web:web /app\n",
        "WORKDIR /app\nCOPY --from=build /src .\nUSER web\nRUN mkdir -p /app/x\n",
        "WORKDIR /app\nCOPY --from=build /src .\nRUN --mount=type=bind,target=/b chown -R web:web /app\n",
        "WORKDIR /app\nCOPY --from=build /src .\nRUN ./setup\nRUN chown -R web:web /app\n",
        "COPY --from=build /src $UNKNOWN/x\nRUN chown -R web:web /app\n",
        "COPY --from=build /src/etc /etc\nRUN useradd web\n",
        "COPY --from=build /src/etc /etc\nRUN apt-get update && apt-get install -y curl\n",
        "WORKDIR /app\nCOPY --from=build /src .\nENV DEBIAN_FRONTEND=x\nRUN apt-get install -y curl\n",
        "WORKDIR /app\nCOPY --chown=web --from=build /src/x x/\nRUN mkdir -p x/y\n",
        "COPY --from=other.test/image:1 /x /x\nRUN mkdir -p /data\n",
        "COPY --from=build /src /app\nRUN apt-get update && apt-get install x && ./x && rm -rf /var/lib/apt/lists/*\n",
        "COPY --from=build /src/bin /bin/\nRUN mkdir -p /data\n",
        "COPY --from=build /src/busybox /usr/bin/busybox\nRUN mkdir -p /data\n",
        "WORKDIR /app\nCOPY --from=build /src .\nCOPY passwd /etc/passwd\nRUN chown -R web:web /app\n",
        "COPY --from=build /src /app\nENV PATH=/app/bin:$PATH\nRUN mkdir -p /data\n",
    ],
)  # fmt: skip
def test_what_cannot_be_proven_stays(text: str) -> None:
    assert fix_final(text) == text


def test_setup_moves_above_all_copies_of_changing_files() -> None:
    text = (
        "COPY --from=other.test/image:1 /x /x\nCOPY --from=build /src/out /app\nLABEL a=b\nENV COLOUR=red\n"
        "COPY --from=build /src/site /site\nRUN apt-get update && apt-get install -y curl\nRUN useradd -u 10 web\n"
    )
    with_variable = fix_final(text)
    assert with_variable.index("useradd") > with_variable.index("ENV COLOUR")
    without = fix_final(text.replace("ENV COLOUR=red\n", ""))
    assert without.index("image:1") < without.index("apt-get") < without.index("useradd") < without.index("/src/out")


def test_options_of_the_shell_stay_for_both_parts() -> None:
    assert fix_final("COPY --from=build /src /app\nRUN set -eux && useradd web && ./x\n") == (
        "RUN set -eux && useradd web\nCOPY --from=build /src /app\nRUN set -eux && ./x\n"
    )


def test_workdir_moves_above_copies_to_other_folders() -> None:
    assert fix_final("COPY --from=build /src/x /usr/bin/x\n# data\nWORKDIR /data\n") == (
        "# data\nWORKDIR /data\nCOPY --from=build /src/x /usr/bin/x\n"
    )


@pytest.mark.parametrize(
    "text",
    [
        "WORKDIR /a\nCOPY --from=build /src x\nWORKDIR /data\n",
        "COPY --chown=1:1 --from=build /src /data/x\nWORKDIR /data\n",
        "COPY --from=build /src /x\nUSER web\nWORKDIR /data\n",
        "WORKDIR /data\nCOPY --from=build /src /x\nWORKDIR /data\n",
        "WORKDIR /data\nCOPY --from=build /src /x\nWORKDIR inner\n",
    ],
)
def test_workdir_that_changes_something_stays(text: str) -> None:
    assert fix_final(text) == text
