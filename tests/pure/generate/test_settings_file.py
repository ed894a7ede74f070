"""Settings file that `init` writes."""

from __future__ import annotations

from pathlib import Path

from stagebake.generate.settings_file import has_settings, render_settings_file
from stagebake.project.settings import Settings, load_settings


def test_render_settings_file_of_all_kinds_loads_with_the_same_values(tmp_path: Path) -> None:
    settings = Settings(
        root=tmp_path,
        image="ghcr.io/o/n",
        context="app",
        network="host",
        platforms=("linux/amd64",),
        secrets=("id=npm,env=NPM",),
        ssh=("default",),
        args={"A": 'quoted "x"', "B.C": "1"},
        contexts={"debian:12": "docker-image://debian:trixie"},
    )
    name, text = render_settings_file(settings)
    (tmp_path / name).write_text(text, encoding="utf-8")
    loaded = load_settings(tmp_path, {}, {})
    for key in ("image", "context", "network", "platforms", "secrets", "ssh", "args", "contexts"):
        assert getattr(loaded, key) == getattr(settings, key)


def test_has_settings_reads_both_files(tmp_path: Path) -> None:
    assert not has_settings(tmp_path)
    (tmp_path / "pyproject.toml").write_text('[project]\nname = "x"\n')
    assert not has_settings(tmp_path)
    (tmp_path / "pyproject.toml").write_text('[tool.stagebake]\nimage = "a/b"\n')
    assert has_settings(tmp_path)
    (tmp_path / "stagebake.toml").write_text("")
    assert has_settings(tmp_path)
