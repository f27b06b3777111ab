"""What a user's modules say of their data sets, as the launcher gets it."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from detectron2.data import DatasetCatalog, MetadataCatalog
from detectron2.data.datasets import register_coco_instances

from launcher.config.request import OwnCode
from launcher.train.compat.describe_own_code import describe_own_code

NAME = "described_by_a_test"


@pytest.fixture(autouse=True)
def _catalogs_as_they_were() -> Iterator[None]:
    before = set(DatasetCatalog.list())
    yield
    for name in set(DatasetCatalog.list()) - before:
        DatasetCatalog.remove(name)
        MetadataCatalog.pop(name, None)


def described() -> dict[str, object]:
    answer = describe_own_code(OwnCode(), [NAME, "coco_2017_train"])
    assert NAME in answer["registered"]
    assert "coco_2017_train" not in answer["registered"]
    return answer["data_sets"][NAME]


def coco_file(folder: Path, content: object) -> str:
    file = folder / "own.json"
    file.write_text(content if isinstance(content, str) else json.dumps(content))
    return str(file)


def test_classes_come_from_thing_classes():
    DatasetCatalog.register(NAME, list)
    MetadataCatalog.get(NAME).thing_classes = ["fig", "date"]

    assert described() == {"classes": ["fig", "date"], "is_semantic": False, "unreadable": ""}


def test_a_coco_file_gives_its_classes_in_the_order_in_which_detectron2_numbers_them(tmp_path: Path):
    content = {"images": [], "annotations": [], "categories": [{"id": 9, "name": "fig"}, {"id": 5, "name": "date"}]}
    register_coco_instances(NAME, {}, coco_file(tmp_path, content), str(tmp_path))

    of_the_file = described()["classes"]
    DatasetCatalog.get(NAME)

    assert of_the_file == ["date", "fig"] == MetadataCatalog.get(NAME).thing_classes


@pytest.mark.parametrize(
    ("content", "says"), [("{", "no COCO-format file"), ({}, "'categories'"), (None, "No such file")]
)
def test_a_coco_file_that_cannot_be_read_is_said(tmp_path: Path, content: object, says: str):
    file = str(tmp_path / "absent.json") if content is None else coco_file(tmp_path, content)
    register_coco_instances(NAME, {}, file, str(tmp_path))

    answer = described()

    assert answer["classes"] is None
    assert says in str(answer["unreadable"])


@pytest.mark.parametrize("stuff", [True, False])
def test_a_data_set_without_things_says_whether_it_has_stuff(stuff: bool):
    DatasetCatalog.register(NAME, list)
    if stuff:
        MetadataCatalog.get(NAME).stuff_classes = ["sky"]

    assert described() == {"classes": None, "is_semantic": stuff, "unreadable": ""}


PROGRAM = "launcher.train.compat.describe_own_code"


def test_the_program_says_from_which_files_and_variables_its_answer_followed(tmp_path: Path, launcher_environment):
    (tmp_path / "own_part.py").write_text("")
    (tmp_path / "own.py").write_text(
        "import json, os\nfrom detectron2.data import DatasetCatalog, MetadataCatalog\nimport own_part\n"
        f"DatasetCatalog.register('{NAME}', list)\n"
        f"MetadataCatalog.get('{NAME}').thing_classes = json.load(open('names.json')) + os.listdir('folder')\n"
        "os.getenv('OWN_VARIABLE')\n"
    )
    (tmp_path / "names.json").write_text('["fig"]')
    (tmp_path / "folder").mkdir()
    question = {"config_extensions": [], "imports": ["own"], "trainer": "", "names": [NAME]}

    command = [sys.executable, "-m", PROGRAM, "answer.json", json.dumps(question)]
    subprocess.run(command, cwd=tmp_path, env=launcher_environment, check=True)

    answer = json.loads((tmp_path / "answer.json").read_text())
    assert answer["data_sets"][NAME]["classes"] == ["fig"]
    assert {str(tmp_path / name) for name in ("own.py", "own_part.py", "names.json", "folder")} <= set(answer["files"])
    assert not [file for file in answer["files"] if file.endswith(".pyc")]
    assert "OWN_VARIABLE" in answer["variables"]
