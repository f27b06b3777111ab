from __future__ import annotations

import pytest

from launcher.config.extensions import extensions_asked_in, extensions_asked_in_files, installed_extensions


@pytest.mark.parametrize(
    ("arguments", "names"),
    [
        (["config_extensions=[a.b:add,c:d]"], ["a.b:add", "c:d"]),
        (["config_extensions=a:b"], ["a:b"]),
        (["config_extensions='[a:b]'"], ["a:b"]),
        (["config_extensions=[]"], []),
        (["config_extensions=[a:b]", "config_extensions=[c:d]"], ["c:d"]),
        (["SOLVER.MAX_ITER=1"], []),
    ],
)
def test_the_command_line_names_extensions(arguments, names):
    assert extensions_asked_in(arguments) == names


def test_a_chosen_file_names_extensions(tmp_path):
    (tmp_path / "mine.yaml").write_text("# @package _global_\nconfig_extensions: [a:b]\n")
    (tmp_path / "broken.yaml").write_text("config_extensions: [a:b\n")

    paths = [tmp_path / name for name in ("absent.yaml", "mine.yaml", "broken.yaml")]

    assert extensions_asked_in_files(paths) == ["a:b"]


def test_installed_packages_name_extensions_by_entry_point(tmp_path, monkeypatch):
    info = tmp_path / "other_project-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: other-project\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text("[launcher.config_extensions]\nkeys = other_project:add_keys\n")
    monkeypatch.syspath_prepend(str(tmp_path))

    assert installed_extensions([str(tmp_path)]) == ["other_project:add_keys"]


def test_without_such_an_entry_point_there_are_none(tmp_path):
    (tmp_path / "plain-1.0.dist-info").mkdir()

    assert installed_extensions([str(tmp_path), str(tmp_path / "absent")]) == []
