"""Wrong input gets one clear answer through the front door, the right exit code, and leaves nothing behind."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from launcher.cli.main import main
from launcher.errors import ExitCode


@pytest.fixture
def data(small_demo: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy of the small demo to be broken, with the working directory beside it."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("DETECTRON2_DATASETS", raising=False)
    return Path(shutil.copytree(small_demo, tmp_path / "data"))


def settings_for(data: Path) -> list[str]:
    return [
        "dataset=coco_json",
        *(f"dataset.{split}.json={data / split}.json" for split in ("train", "val")),
        *(f"dataset.{split}.images={data / split}" for split in ("train", "val")),
        "model=COCO-InstanceSegmentation/mask_rcnn_R_50_FPN_1x",
        'MODEL.WEIGHTS=""',
        "SOLVER.IMS_PER_BATCH=2",
    ]


NO_FILES = [f"dataset.{split}.{name}=" for split in ("train", "val") for name in ("json", "images")]
REQUEST = ExitCode.request_wrong
DATA = ExitCode.data_wrong
DEVICE = ExitCode.device_refused


@pytest.mark.parametrize(
    ("typed", "code", "answers"),
    [
        (["SOLVER.BASELR=0.1"], REQUEST, ["no key SOLVER.BASELR", "SOLVER.BASE_LR=0.1"]),
        (["SOLVER.MAX_ITER=1.5"], REQUEST, ["SOLVER.MAX_ITER", "1.5"]),
        (["SOLVER.STEPS=(1,2)"], REQUEST, ["SOLVER.STEPS=[1,2]"]),
        (["experiment=coc"], REQUEST, ["no experiment coc", "experiment=coco"]),
        (["dataset=coco_2071"], REQUEST, ["coco_2071", "coco_2017"]),
        (["model=COCO-Detection/retinanet_R_50_FPN_2x"], REQUEST, ["retinanet_R_50_FPN_3x"]),
        (["device=gpu"], REQUEST, ["gpu", "cuda"]),
        (["device.count=0"], REQUEST, ["device.count=0"]),
        (["device.count=2", "SOLVER.IMS_PER_BATCH=3", "device=cpu"], REQUEST, ["SOLVER.IMS_PER_BATCH"]),
        (["SOLVER.MAX_ITER=0"], REQUEST, ["SOLVER.MAX_ITER=0"]),
        (["MODEL.WEIGHTS=nowhere.pth"], REQUEST, ["MODEL.WEIGHTS=nowhere.pth", "no such file"]),
        (["resume=must"], REQUEST, ["resume=must", "resume=auto"]),
        (["imports=[no_such]", "device=cuda"], REQUEST, ["no module no_such", "PYTHONPATH", "device.choice=cuda"]),
        (["resume=nowhere.pth"], REQUEST, ["resume=nowhere.pth", "no such file"]),
        (["run.root=data/train.json"], REQUEST, ["is a file", "run.root=FOLDER"]),
        (["dataset=coco_2017"], REQUEST, ["dataset.train and dataset.val are set", "dataset=coco_json"]),
        (["dataset=coco_2017", *NO_FILES], DATA, ["instances_train2017.json", "dataset.root", "cocodataset.org"]),
        (["dataset.train.json=nowhere.json"], DATA, ["nowhere.json", "dataset.train.json"]),
        (["MODEL.ROI_HEADS.NUM_CLASSES=3"], DATA, ["MODEL.ROI_HEADS.NUM_CLASSES", "3", "10"]),
        (["device=cuda"], DEVICE, ["no NVIDIA GPU in this machine", "device.on_missing=fall_back"]),
        (["device=mps"], DEVICE, ["mps"]),
    ],
)
def test_a_wrong_request_is_answered_and_leaves_nothing(
    typed: list[str],
    code: ExitCode,
    answers: list[str],
    data: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
):
    before = _files_in(tmp_path)

    assert main(["train", *settings_for(data), *typed]) == code

    said = capsys.readouterr().err
    assert all(answer in said for answer in answers), said
    assert "Traceback" not in said
    assert _files_in(tmp_path) == before


def _cut_json(data: Path) -> None:
    file = data / "train.json"
    file.write_text(file.read_text()[:500])


def _remove_an_image(data: Path) -> None:
    next((data / "train").iterdir()).unlink()


def _annotation_without_image(data: Path) -> None:
    content = json.loads((data / "train.json").read_text())
    content["annotations"][0]["image_id"] = 12345
    (data / "train.json").write_text(json.dumps(content))


def _other_categories_in_val(data: Path) -> None:
    content = json.loads((data / "val.json").read_text())
    content["categories"][0]["name"] = "something else"
    (data / "val.json").write_text(json.dumps(content))


@pytest.mark.parametrize(
    ("breaks", "answers"),
    [
        (_cut_json, ["train.json", "line"]),
        (_remove_an_image, ["train.json", "image"]),
        (_annotation_without_image, ["12345"]),
        (_other_categories_in_val, ["categories"]),
    ],
)
def test_broken_data_is_answered_and_leaves_nothing(
    breaks: Callable[[Path], None],
    answers: list[str],
    data: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
):
    breaks(data)
    before = _files_in(tmp_path)

    assert main(["train", *settings_for(data)]) == ExitCode.data_wrong

    said = capsys.readouterr().err
    assert all(answer in said for answer in answers), said
    assert _files_in(tmp_path) == before


def test_a_folder_that_cannot_be_made_is_named(data: Path, capsys: pytest.CaptureFixture[str]):
    assert main(["train", *settings_for(data), "run.root=/proc/nowhere"]) == ExitCode.request_wrong

    said = capsys.readouterr().err
    assert "/proc/nowhere" in said
    assert "run.root=FOLDER" in said


def test_planning_has_no_side_effects(data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    before = _files_in(tmp_path)

    assert main(["plan", "--json", *settings_for(data), "device=cpu"]) == ExitCode.finished

    plan = json.loads(capsys.readouterr().out)
    assert plan["devices"]["kind"] == "cpu"
    assert plan["keys"]["MODEL"]["ROI_HEADS"]["NUM_CLASSES"] == 10
    assert _files_in(tmp_path) == before


def _files_in(folder: Path) -> set[Path]:
    return set(folder.rglob("*"))


WATCHED = """
import json, sys
from launcher.cli.main import main
from launcher.config.known_keys import read_keys

read_keys()  # once per installation a child process makes the cache
looked_at = []

def watch(event, arguments):
    path = str(arguments[0]) if event == "open" else ""
    if path.endswith("there.json") or path.startswith(("/dev/nvidia", "/proc/driver/nvidia")):
        looked_at.append(path)
    if event in ("subprocess.Popen", "os.fork", "os.posix_spawn", "socket.connect"):
        looked_at.append(event)

sys.addaudithook(watch)
code = main(json.loads(sys.argv[1]))
print(json.dumps([code, looked_at]))
"""


def watched(*typed: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-c", WATCHED, json.dumps(typed)]
    return subprocess.run(command, capture_output=True, text=True, check=True)


def test_all_mistakes_of_a_request_come_at_once_before_anything_is_looked_at(data: Path):
    (data / "there.json").write_text("{")  # were it read, there would be a problem more
    files = [f"dataset.train.json={data}/there.json", "dataset.val.json=nowhere.json"]
    wrong = ["run.retries=-1", "device.count=0", "ema.decay=nan", "SOLVER.MAX_ITER=0", "run.time_limit=soon"]

    done = watched("train", *settings_for(data), *files, *wrong)

    assert json.loads(done.stdout) == [REQUEST, []]
    named = [line.removeprefix("error: ").partition(":")[0].partition(" ")[0] for line in done.stderr.splitlines()]
    assert named == ["device.count=0", "run.retries=-1", "run.time_limit=soon", "ema.decay=nan", "SOLVER.MAX_ITER=0"]


def test_a_request_without_mistakes_is_seen_to_look(data: Path):
    (data / "there.json").write_text("{")

    done = watched("plan", *settings_for(data), f"dataset.train.json={data}/there.json")

    code, looked_at = json.loads(done.stdout)
    assert code == DATA
    assert {f"{data}/there.json", "subprocess.Popen"} <= set(looked_at)
