"""Init, build, push and restore repositories that hold only a Dockerfile, of all shapes."""

from __future__ import annotations

import pytest

from tests.support.project import Project
from tests.support.shapes import SHAPES, draw

EQUAL_NAMES = f"""\
FROM busybox:1 AS build
{draw("first")}
FROM build AS tools
{draw("tools")}
FROM busybox:1 AS build
{draw("second")}
FROM busybox:1 AS image
COPY --from=tools /first.txt /tools.txt /
COPY --from=build /second.txt /
"""
UNUSED = {"numbers-and-no-names": {"never-used"}}


@pytest.mark.parametrize("shape", SHAPES)
def test_init_build_and_push_of_each_shape_give_the_same_image(project: Project, shape: str) -> None:
    """Push again from an empty engine: the image is still the same."""
    project.write(SHAPES[shape])
    project.commit()
    place = project.environment()
    started = project.stagebake("init", **place)
    assert started.exit_code == 0, started.stderr

    project.build(**place)
    values = project.loaded()
    first = project.build("--push", **place)
    assert project.pushed() == values
    project.engine.empty()
    second = project.build("--push", **place)
    assert project.pushed() == values

    assert first.ran == second.ran == set()
    assert second.stages("unused") == UNUSED.get(shape, set())
    assert second.stages("restored") | second.stages("unused") == {stage["name"] for stage in second.report["stages"]}


def test_build_of_stages_with_equal_names_restores_and_forces_both(project: Project) -> None:
    """FROM finds the first of both stages, COPY --from the second; --no-cache forces both, as BuildKit does."""
    project.write({"Dockerfile": EQUAL_NAMES})
    project.commit()
    place = project.environment()
    first = project.stagebake("build", "--push", **place)
    assert first.exit_code == 0, first.stderr
    values = project.pushed()
    project.engine.empty()
    again = project.stagebake("build", "--push", **place)
    assert again.exit_code == 0, again.stderr
    assert project.pushed() == values
    assert again.stages("restored") == {"stage-0", "tools", "build", "image"}
    assert "uses the stage name `build` again" in " ".join(again.report["warnings"])

    forced = project.stagebake("build", "--push", "--no-cache", "build", **place)
    assert forced.exit_code == 0, forced.stderr
    assert {name for name, value in project.pushed().items() if value != values[name]} == {"first", "tools", "second"}


def test_init_noxfile_builds_and_passes_arguments_on(project: Project) -> None:
    """Run `nox -s build` right after `stagebake init`; it passes on what follows `--`."""
    project.write(SHAPES["eight-with-a-diamond"])
    place = project.environment()
    project.stagebake("init", **place)
    built = project.nox("-s", "build", **place)
    assert built.exit_code == 0, built.stdout + built.stderr
    values = project.loaded()
    assert len(values) == 8
    forced = project.nox("-s", "build", "--", "--no-cache", "image", **place)
    assert forced.exit_code == 0, forced.stdout + forced.stderr
    assert {name for name in values if values[name] != project.loaded()[name]} == {"image"}


def test_init_without_a_terminal_overwrites_nothing(repository: Project) -> None:
    """Keep existing files where no user can answer; a second init has nothing to do."""
    own = "import nox\n\n\n@nox.session\ndef build(session):\n    pass\n"
    repository.write({**SHAPES["one-stage"], "noxfile.py": own})
    first = repository.stagebake("init", "--image", repository.image)
    second = repository.stagebake("init", "--image", repository.image)
    assert (first.exit_code, second.exit_code) == (0, 0)
    assert (repository.folder / "noxfile.py").read_text(encoding="utf-8") == own
    assert "noxfile.py is kept" in first.stdout
    assert (repository.folder / "docker-bake.hcl").exists()
    assert "wrote" not in second.stdout


def test_init_in_a_python_project_appends_its_settings_to_pyproject(repository: Project) -> None:
    repository.write({**SHAPES["one-stage"], "pyproject.toml": '[project]\nname = "mine"\n'})
    outcome = repository.stagebake("init", "--image", repository.image)
    assert outcome.exit_code == 0, outcome.stderr
    text = (repository.folder / "pyproject.toml").read_text(encoding="utf-8")
    assert text.startswith('[project]\nname = "mine"\n')
    assert f'[tool.stagebake]\nimage = "{repository.image}"' in text
    assert repository.stagebake("generate", "--check").exit_code == 0
