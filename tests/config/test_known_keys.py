from __future__ import annotations

import json
import os
import sys
from pathlib import Path

import pytest

from launcher.config.known_keys import cache_folders, find_detectron2, read_keys
from launcher.errors import RequestError

FAKE_DETECTRON2 = {
    "__init__.py": '__version__ = "9.0"\n',
    "config/__init__.py": """
import json
from .defaults import DEFAULTS

class CfgNode(dict):
    def __init__(self, content, new_allowed=False):
        super().__init__({k: CfgNode(v) if isinstance(v, dict) else v for k, v in content.items()})
        self.new_allowed = new_allowed

    def is_new_allowed(self):
        return self.new_allowed

    def merge_from_file(self, path):
        with open(path) as file:
            for key, value in json.load(file).items():
                if key not in self:
                    raise KeyError(key)
                self[key] = value

def get_cfg():
    return CfgNode(DEFAULTS)
""",
    "config/defaults.py": 'DEFAULTS = {"SOLVER": {"BASE_LR": 0.1, "STEPS": (1, 2)}, "MASK_ON": False}\n',
    "model_zoo/__init__.py": "",
    "model_zoo/configs/Folder/mask.yaml": '{"MASK_ON": true}',
    "model_zoo/configs/Folder/foreign.yaml": '{"NOT_THERE": true}',
}


@pytest.fixture
def fake_detectron2(tmp_path, monkeypatch) -> Path:
    """A small detectron2 that is found before the installed one."""
    folder = tmp_path / "site" / "detectron2"
    for name, text in FAKE_DETECTRON2.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text)
    monkeypatch.delitem(sys.modules, "detectron2", raising=False)
    monkeypatch.syspath_prepend(str(folder.parent))
    return folder


@pytest.fixture
def environ(tmp_path) -> dict[str, str]:
    return {"PATH": os.environ["PATH"], "XDG_CACHE_HOME": str(tmp_path / "cache")}


@pytest.mark.usefixtures("fake_detectron2")
def test_the_keys_are_read_once_and_then_come_from_the_cache(environ):
    announced: list[str] = []

    first = read_keys(environ=environ, announce=announced.append)
    second = read_keys(environ=environ, announce=announced.append)

    assert first == second
    assert first.defaults == {"SOLVER": {"BASE_LR": 0.1, "STEPS": [1, 2]}, "MASK_ON": False}
    assert first.zoo == {"Folder/mask": {"MASK_ON": True}}
    assert len(announced) == 1


@pytest.mark.parametrize(
    ("file", "text"),
    [
        ("config/defaults.py", 'DEFAULTS = {"MASK_ON": False, "NEW": 1}\n'),
        ("__init__.py", '__version__ = "9.1"\n'),
        ("model_zoo/configs/Folder/new.yaml", "{}"),
        ("model_zoo/configs/New/new.yaml", "{}"),
        ("model_zoo/configs/Folder/mask.yaml", '{"MASK_ON":  true}'),
    ],
)
def test_another_detectron2_is_read_again(fake_detectron2, environ, file, text):
    read_keys(environ=environ)
    (fake_detectron2 / file).parent.mkdir(exist_ok=True)
    (fake_detectron2 / file).write_text(text)

    announced: list[str] = []
    read_keys(environ=environ, announce=announced.append)

    assert announced


@pytest.mark.usefixtures("fake_detectron2")
@pytest.mark.parametrize("content", ["", "{", "[]", '{"made_from": {}}', "null", '{"made_from": {}, "version": ""}'])
def test_a_damaged_cache_is_made_anew(environ, content):
    whole = read_keys(environ=environ)
    (cached,) = Path(environ["XDG_CACHE_HOME"]).rglob("keys-*.json")
    cached.write_text(content)

    assert read_keys(environ=environ) == whole
    assert json.loads(cached.read_text())["defaults"] == whole.defaults


@pytest.mark.usefixtures("fake_detectron2")
def test_an_unwritable_cache_folder_gives_way_to_the_temporary_one(environ, tmp_path, monkeypatch):
    (tmp_path / "cache").write_text("a file where the folder should be")
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    announced: list[str] = []

    read_keys(environ=environ)
    read_keys(environ=environ, announce=announced.append)

    assert not announced
    assert list(tmp_path.glob("detectron2-launcher-*/keys-*.json"))


def test_an_extension_adds_keys_and_is_read_again_when_it_changes(fake_detectron2, environ):
    extension = fake_detectron2.parent / "other_project.py"
    extension.write_text("def add_keys(cfg):\n    cfg['OTHER'] = 1\n")

    first = read_keys(["other_project:add_keys"], environ=environ)
    extension.write_text("def add_keys(cfg):\n    cfg['OTHER'] = 1000\n")
    second = read_keys(["other_project:add_keys"], environ=environ)

    assert first.defaults["OTHER"] == 1
    assert second.defaults["OTHER"] == 1000
    assert "OTHER" not in read_keys(environ=environ).defaults


@pytest.mark.parametrize(
    ("extension", "reason"),
    [
        ("absent_project:add_keys", "module absent_project cannot be imported"),
        ("other_project:absent", "has no function absent"),
        ("other_project", "write it as module:function"),
    ],
)
def test_an_extension_that_cannot_be_loaded_is_named(fake_detectron2, environ, extension, reason):
    (fake_detectron2.parent / "other_project.py").write_text("")

    with pytest.raises(RequestError, match=reason):
        read_keys([extension], environ=environ)


def test_the_reason_why_an_extension_cannot_be_imported_is_given_whole(fake_detectron2, environ):
    (fake_detectron2.parent / "other_project.py").write_text("raise ImportError('first line\\nsecond line')\n")

    with pytest.raises(RequestError, match=r"module other_project cannot be imported \(first line\nsecond line\)"):
        read_keys(["other_project:add_keys"], environ=environ)


def test_an_extension_that_exits_gives_its_last_words(fake_detectron2, environ):
    (fake_detectron2.parent / "other_project.py").write_text("import sys\nprint('why', file=sys.stderr)\nsys.exit(2)\n")

    with pytest.raises(RequestError, match=r"(?s)exit code 2.*why"):
        read_keys(["other_project:add_keys"], environ=environ)


def test_a_detectron2_that_cannot_be_imported_gives_its_last_words(fake_detectron2, environ):
    (fake_detectron2 / "config" / "defaults.py").write_text("raise ImportError('libtorch.so is broken')\n")

    with pytest.raises(RequestError, match=r"libtorch\.so is broken"):
        read_keys(environ=environ)


def test_a_detectron2_that_hangs_is_given_up(fake_detectron2, environ):
    (fake_detectron2 / "config" / "defaults.py").write_text("import time\ntime.sleep(60)\n")

    with pytest.raises(RequestError, match="took longer than 1 s"):
        read_keys(environ=environ, deadline_s=1)


def test_a_missing_detectron2_names_both_ways_to_get_it(monkeypatch):
    monkeypatch.delitem(sys.modules, "detectron2", raising=False)
    monkeypatch.setattr(sys, "path", [])

    with pytest.raises(RequestError, match=r"(?s)launcher install detectron2.*compiles"):
        find_detectron2()


def test_a_folder_that_happens_to_be_called_detectron2_is_not_taken_for_it(tmp_path, monkeypatch):
    (tmp_path / "detectron2").mkdir()
    monkeypatch.delitem(sys.modules, "detectron2", raising=False)
    monkeypatch.setattr(sys, "path", [str(tmp_path)])

    with pytest.raises(RequestError, match="is not an installed package"):
        find_detectron2()


def test_without_a_home_only_the_temporary_folder_is_left():
    assert len(cache_folders({})) == 1
    assert cache_folders({"HOME": "/home/me"})[0] == Path("/home/me/.cache/detectron2-launcher")
