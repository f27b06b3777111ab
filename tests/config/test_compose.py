from __future__ import annotations

import contextlib
import io
import os
import subprocess
import sys
from pathlib import Path

import pytest

from launcher.config.arguments import take_apart
from launcher.config.compose import TEXT_LISTS, plugins_for, run_hydra
from launcher.config.own_settings import own_settings
from launcher.config.request import DatasetKind, DeviceChoice, RunRequest
from launcher.errors import DataError, DeviceUnavailableError, RequestError
from launcher.run.identity import run_folder

POINT_REND = "detectron2.projects.point_rend:add_pointrend_config"
DATA = "DATASETS.TRAIN=[mine]"
"""Without anything to train on a request is refused."""


def requested(*arguments: str) -> RunRequest:
    requests: list[RunRequest] = []
    run_hydra(arguments, requests.append)
    (request,) = requests
    return request


@pytest.fixture
def own_configs(tmp_path) -> Path:
    for group in ("experiment", "model", "dataset"):
        (tmp_path / group).mkdir()
    return tmp_path


def test_what_is_not_typed_has_its_default():
    request = requested(DATA)

    assert request.typed.experiment == ""
    assert request.typed.overrides == (DATA,)
    assert not request.typed.in_sweep
    assert request.device.choice is DeviceChoice.auto
    assert request.resume == "auto"
    assert request.keys["SOLVER.MAX_ITER"] == 40000


@pytest.mark.parametrize("typed", ["experiment=coco", "+experiment=coco"])
def test_an_experiment_is_chosen_with_and_without_plus(typed):
    request = requested(typed)

    assert request.typed.experiment == "coco"
    assert request.typed.overrides == ("+experiment=coco",)
    assert request.keys["DATASETS.TRAIN"] == ["coco_2017_train"]


def test_overrides_are_kept_as_typed_and_their_values_as_meant(monkeypatch):
    monkeypatch.setenv("WEIGHTS_FOLDER", "/weights")
    typed = "MODEL.WEIGHTS=${oc.env:WEIGHTS_FOLDER}/a.pth"

    request = requested(typed, DATA)

    assert request.typed.overrides == (typed, DATA)
    assert request.keys["MODEL.WEIGHTS"] == "/weights/a.pth"


def test_a_group_and_a_setting_of_the_same_name_can_both_be_typed():
    device = requested("device=cpu", "device.count=2", DATA).device

    assert device.choice is DeviceChoice.cpu
    assert device.count == 2


def test_the_nearer_to_the_command_line_the_stronger(own_configs):
    (own_configs / "dataset" / "mine.yaml").write_text(
        "# @package _global_\nSOLVER: {BASE_LR: 1, GAMMA: 1, MAX_ITER: 1}\nINPUT: {MIN_SIZE_TRAIN: [1]}\n"
    )
    (own_configs / "experiment" / "mine.yaml").write_text(
        "# @package _global_\ndefaults:\n  - override /model: COCO-Detection__retinanet_R_50_FPN_1x\n"
        "SOLVER: {BASE_LR: 2, GAMMA: 2, MAX_ITER: 2}\n"
    )
    typed = ["debug=one_iteration", "experiment=mine", "dataset=mine", "SOLVER.GAMMA=3"]

    keys = requested(*typed, "--config-dir", str(own_configs)).keys

    assert keys["SOLVER.MAX_ITER"] == 1, "debug before experiment"
    assert keys["SOLVER.GAMMA"] == 3, "command line before experiment"
    assert keys["SOLVER.BASE_LR"] == 2, "experiment before data set"
    assert keys["INPUT.MIN_SIZE_TRAIN"] == [1], "data set before model"
    assert keys["MODEL.META_ARCHITECTURE"] == "RetinaNet", "model before defaults"
    assert keys["SOLVER.WARMUP_ITERS"] == 1000, "default"


def test_a_model_of_ones_own_stands_beside_the_zoo(own_configs):
    (own_configs / "model" / "mine.yaml").write_text("# @package _global_\nMODEL: {MASK_ON: true}\n")

    assert requested("model=mine", DATA, "--config-dir", str(own_configs)).keys["MODEL.MASK_ON"] is True


def test_own_data_is_named_on_the_command_line():
    request = requested("dataset=coco_json", "dataset.name=fruits", "dataset.train={json: a.json, images: a}")

    assert request.dataset.kind is DatasetKind.coco_json
    assert request.dataset.train.json == "a.json"
    assert request.keys["DATASETS.TRAIN"] == ["fruits_train"]
    assert request.keys["DATASETS.TEST"] == ["fruits_val"]


def test_data_sets_are_looked_for_where_detectron2_looks(monkeypatch):
    monkeypatch.setenv("DETECTRON2_DATASETS", "/data")
    assert requested(DATA).dataset.root == "/data"

    monkeypatch.delenv("DETECTRON2_DATASETS")
    assert requested(DATA).dataset.root == "datasets"


def test_values_are_plain_data():
    def kinds(value: object) -> set[type]:
        inner = value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
        return {type(value)}.union(*(kinds(one) for one in inner))

    assert kinds(requested("model=Misc/cascade_mask_rcnn_R_50_FPN_1x").keys.nested()) <= {
        *(dict, list, str, int, float, bool, type(None))
    }


def test_an_extension_brings_keys_of_another_project():
    request = requested(f"config_extensions=[{POINT_REND}]", "MODEL.POINT_HEAD.NUM_FC=4", DATA)

    assert request.own_code.config_extensions == (POINT_REND,)
    assert request.keys["MODEL.POINT_HEAD.NUM_FC"] == 4


def test_an_experiment_file_can_name_its_extension(own_configs):
    text = f"# @package _global_\nconfig_extensions: ['{POINT_REND}']\nMODEL: {{POINT_HEAD: {{NUM_FC: 5}}}}\n"
    (own_configs / "experiment" / "rend.yaml").write_text(text)

    request = requested("experiment=rend", DATA, "--config-dir", str(own_configs))

    assert request.own_code.config_extensions == (POINT_REND,)
    assert request.keys["MODEL.POINT_HEAD.NUM_FC"] == 5


def test_hydra_leaves_no_traces(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    argv, environ = list(sys.argv), dict(os.environ)

    requested("run.name=one", DATA)

    assert list(tmp_path.iterdir()) == []
    assert Path.cwd() == tmp_path
    assert (sys.argv, dict(os.environ)) == (argv, environ)


def test_a_sweep_calls_the_task_once_for_each_value(tmp_path):
    requests: list[RunRequest] = []

    models = "model=COCO-Detection/retinanet_R_50_FPN_1x,COCO-Detection/rpn_R_50_FPN_1x"
    run_hydra(["-m", models, "SOLVER.MAX_ITER=1,2", f"run.root={tmp_path}"], requests.append)

    assert all(request.typed.in_sweep for request in requests)
    assert [request.keys["SOLVER.MAX_ITER"] for request in requests] == [1, 2, 1, 2]
    assert [request.keys["MODEL.META_ARCHITECTURE"] for request in requests] == [
        *("RetinaNet", "RetinaNet", "ProposalNetwork", "ProposalNetwork")
    ]
    assert [path.name for path in tmp_path.iterdir()] == ["sweeps"]


@pytest.mark.parametrize(
    ("typed", "swept"),
    [
        ([DATA, "SOLVER.MAX_ITER=1,2"], [["SOLVER.MAX_ITER=1"], ["SOLVER.MAX_ITER=2"]]),
        (["experiment=coco,coco_quick", "run.name=x"], [["+experiment=coco"], ["+experiment=coco_quick"]]),
        (
            ["model=COCO-Detection/rpn_R_50_FPN_1x", "experiment=coco_quick", "SOLVER.GAMMA=0.5,0.25"],
            [["SOLVER.GAMMA=0.5"], ["SOLVER.GAMMA=0.25"]],
        ),
        (
            ["model=COCO-Detection/rpn_R_50_FPN_1x,COCO-Detection/rpn_R_50_C4_1x", "SOLVER.BASE_LR=1e-3"],
            [["model=COCO-Detection__rpn_R_50_FPN_1x"], ["model=COCO-Detection__rpn_R_50_C4_1x"]],
        ),
    ],
)
def test_what_differs_between_the_jobs_of_a_sweep_is_told_apart_from_what_is_the_same(tmp_path, typed, swept):
    requests: list[RunRequest] = []

    run_hydra(["-m", *typed, f"run.root={tmp_path}"], requests.append)

    assert [list(request.typed.swept) for request in requests] == swept


def test_without_a_sweep_nothing_differs():
    assert requested("SOLVER.MAX_ITER=1", DATA).typed.swept == ()


def test_a_mistake_in_a_sweep_is_corrected_before_any_job(tmp_path):
    requests: list[RunRequest] = []

    with pytest.raises(RequestError) as refused:
        run_hydra(["-m", "dataset=coco_2017", "SOLVER.BASE_LRR=1,2", f"run.root={tmp_path}"], requests.append)

    assert "launcher train -m dataset=coco_2017 SOLVER.BASE_LR=1,2" in str(refused.value)
    assert not requests


@pytest.mark.parametrize("name", ["1e5", "1.50", "2026_01", "+3", ".5", "true", "False", "inf", "3", "007", "v1.0"])
def test_text_that_looks_like_a_number_stays_as_it_is_typed(name: str):
    assert requested(DATA, f"run.name={name}").run.name == name


def test_the_jobs_of_a_sweep_get_text_as_it_is_typed_too(tmp_path):
    requests: list[RunRequest] = []

    run_hydra(["-m", DATA, "run.name=1.50,2e3", f"run.root={tmp_path}"], requests.append)

    assert [request.run.name for request in requests] == ["1.50", "2e3"]


def test_several_experiments_name_the_run_together():
    assert requested("experiment=[coco,coco_quick]").typed.experiment == "coco+coco_quick"


def test_a_job_that_fails_does_not_keep_the_others_from_running(tmp_path, capfd):
    seen: list[int] = []

    def task(request: RunRequest) -> None:
        seen.append(request.keys["SOLVER.MAX_ITER"])
        if seen[-1] in (1, 2):
            raise DataError(f"no data for {seen[-1]}")

    with pytest.raises(DataError, match=r"(?s)^2 trainings.*MAX_ITER=1 .*no data for 1\nDATA.*no data for 2$"):
        run_hydra(["-m", DATA, "SOLVER.MAX_ITER=1,2,3", f"run.root={tmp_path}"], task)

    assert seen == [1, 2, 3]
    # Hydra says it of a job without a result, which sweepers that look for the best one have to know.
    assert "SOLVER.MAX_ITER=1" in capfd.readouterr().err


def test_what_cannot_be_meant_is_refused_before_the_task_all_at_once():
    calls: list[RunRequest] = []

    with pytest.raises(RequestError) as refused:
        run_hydra([DATA, "run.retries=-1", "ema.decay=1", "SOLVER.MAX_ITER=0"], calls.append)

    assert str(refused.value).splitlines() == [
        "run.retries=-1: must be >= 0 (0 never retries).",
        "ema.decay=1: must be in [0, 1) (0 keeps no average).",
        "SOLVER.MAX_ITER=0: must be >= 1.",
    ]
    assert not calls


def test_each_job_of_a_sweep_is_checked(tmp_path):
    requests: list[RunRequest] = []

    with pytest.raises(RequestError, match=r"^run\.retries=-1: must be >= 0"):
        run_hydra(["-m", DATA, "run.retries=-1,2", f"run.root={tmp_path}"], requests.append)

    assert [request.run.retries for request in requests] == [2]


def test_the_composed_configuration_is_printed_whatever_is_wrong_with_it(capsys):
    run_hydra(["run.retries=-1", "--cfg", "job", "-p", "run"], lambda _: None)

    assert "retries: -1" in capsys.readouterr().out


def test_a_sweep_into_a_place_that_cannot_be_written_names_the_setting(tmp_path):
    (tmp_path / "taken").write_text("")

    with pytest.raises(RequestError, match=r"taken.*run\.root=DIR"):
        run_hydra(["-m", "SOLVER.MAX_ITER=1,2", f"run.root={tmp_path / 'taken'}"], lambda _: None)


def test_what_the_task_raises_arrives_as_it_is_and_without_a_word_from_hydra(capfd):
    def task(_: RunRequest) -> None:
        raise DeviceUnavailableError("no GPU")

    with pytest.raises(DeviceUnavailableError, match="no GPU"):
        run_hydra([DATA], task)

    assert capfd.readouterr().err == ""


def test_a_bug_in_the_task_keeps_its_type():
    with pytest.raises(ZeroDivisionError):
        run_hydra([DATA], lambda _: 1 / 0)


@pytest.mark.parametrize(
    ("typed", "message"),
    [
        (
            ["SOLVER.BASE_LRR=1", "BASE_LR=2", "dataset=coco_2017"],
            r"(?s)SOLVER\.BASE_LRR=1: .*BASE_LR=2: .*Type:\n  launcher train SOLVER",
        ),
        (["SOLVER.MAX_ITER=1.5"], "takes a whole number"),
        (["experiment=coc"], "launcher train experiment=coco"),
        (["SOLVER.BASE_LRR=1"], r"SOLVER\.BASE_LRR=1: .*\nDATASETS\.TRAIN is empty[^\n]*$"),
        (["dataset=coco_json", "dataset=nope"], "there is no dataset nope"),
        (["model=COCO-Detection/nope_R_50"], "there is no model COCO-Detection/nope_R_50"),
        (["INPUT.MIN_SIZE_TRAIN=(1,2)", "dataset=coco_2017"], r"INPUT\.MIN_SIZE_TRAIN=\[1,2\]"),
        (["+FOO.BAR=1"], "config_extensions"),
        (["+FOO.BAR=1", "--cfg", "job"], "config_extensions"),
        (["~SOLVER.MAX_ITER"], "cannot be removed"),
        (["MODEL.WEIGHTS=${nope.there}"], r"MODEL\.WEIGHTS: .*nope\.there"),
        (["MODEL.WEIGHTS=${oc.env:NOT_SET_ANYWHERE}"], "NOT_SET_ANYWHERE"),
        (["-m", "SOLVER.BASE_LR=0.1,fast"], "takes a number, not 'fast'"),
        (["hydra.mode=SIDEWAYS"], "SIDEWAYS"),
        (["hydra/launcher=nope"], "there is no hydra/launcher nope; there are basic"),
        (["--config-dir", "/not/there"], "/not/there"),
        (["--config-dir", "nope", "experiment=mine"], "no such folder.*--config-dir DIR"),
        (["--nope"], "--nope"),
        (["--device", "cpu"], "without dashes: device=VALUE"),
        (["--num-gpus=2"], r"--num-gpus: set device\.count=2\."),
        (["model=null"], "~model"),
        (["experiment=null"], "~experiment"),
        (["SOLVER.BASE_LR", "0.1", "dataset=coco_2017"], r"launcher train SOLVER\.BASE_LR=0\.1"),
        (["SOLVER.STEPS=[a]"], r"SOLVER\.STEPS takes numbers, not 'a'.*SOLVER\.STEPS=\[30000\]"),
        (["DATASETS.TRAIN=[0.5]"], r"DATASETS\.TRAIN takes names, not 0\.5\. .*DATASETS\.TRAIN=\[mine\]"),
        (["imports=[[64,128]]"], r"imports takes names, not \[64, 128\]\. .*imports=\[package\.module\]"),
        (["imports=[{a:1}]"], r"imports takes names, not \{'a': 1\}"),
        (["run.allow_changes=[[SEED]]"], r"run\.allow_changes takes names, not \['SEED'\]"),
        (["cluster.options=[[1]]"], r"cluster\.options takes names, not \[1\]"),
        (["cluster.preamble=[{a:1}]"], r"cluster\.preamble takes names, not"),
        (["cluster.container.mounts=[[a]]"], r"cluster\.container\.mounts takes names, not"),
        (["DATASETS.TEST=[[a]]"], r"DATASETS\.TEST takes names, not \['a'\]"),
        (["MODEL.RESNETS.OUT_FEATURES=[0.5]"], r"OUT_FEATURES takes names, not 0\.5\. .*OUT_FEATURES=\[res4\]"),
        (["SOLVER.STEPS=[1,null]"], "takes numbers, not None"),
        (["MODEL.ANCHOR_GENERATOR.SIZES=[[32],[a]]"], r"SIZES takes numbers, not 'a'.*=\[\[32,64"),
        (["--cfg", "jobs"], "jobs"),
        (["--resolve"], "--resolve"),
        (["--cfg", "job", "-m"], "Only one of"),
    ],
)
def test_a_wrong_request_is_refused_in_one_answer_and_nothing_else_is_printed(typed, message, capfd):
    calls: list[RunRequest] = []

    with pytest.raises(RequestError, match=message):
        run_hydra(typed, calls.append)

    assert not calls
    assert capfd.readouterr() == ("", "")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("SOLVER: {BASE_LRR: 1}", r"In .*experiment/mine\.yaml: .*SOLVER\.BASE_LRR; nearest: SOLVER\.BASE_LR"),
        ("SOLVR: {BASE_LR: 1}", "no key SOLVR.*nearest: SOLVER"),
        ("SOLVER: {MAX_ITER: often}", r"SOLVER\.MAX_ITER.*often"),
        ("device: {cuont: 1}", r"device\.cuont; nearest: device\.count"),
        ("defaults: [{override /model: nope}]", "there is no model nope"),
        ("defaults: [{override /modle: nope}]", "modle"),
        ("SOLVER: [", r"mine\.yaml"),
        ("SOLVER: 3", "SOLVER"),
        ("INPUT: {MIN_SIZE_TRAIN: [often]}", r"INPUT\.MIN_SIZE_TRAIN takes numbers, not 'often'"),
        ("device: cpu", r"In .*experiment/mine\.yaml: device is .*device\.choice.*override /device: cpu"),
        ("dataset: nope", "dataset is a group of settings"),
    ],
)
def test_a_wrong_file_is_named_with_what_is_wrong_in_it(own_configs, text, message):
    (own_configs / "experiment" / "mine.yaml").write_text(f"# @package _global_\n{text}\n")

    with pytest.raises(RequestError, match=message):
        requested("experiment=mine", "--config-dir", str(own_configs))


@pytest.mark.parametrize("group", ["experiment", "dataset"])
def test_a_file_without_its_package_line_is_told_so(own_configs, group):
    (own_configs / group / "mine.yaml").write_text("SOLVER: {MAX_ITER: 3}\n")

    with pytest.raises(RequestError, match=rf"(?s)A file in {group}/ sets SOLVER .*# @package _global_$"):
        requested(f"{group}=mine", "--config-dir", str(own_configs))


def test_lists_of_numbers_take_whole_and_other_numbers_nested_or_not():
    keys = requested("MODEL.ANCHOR_GENERATOR.SIZES=[32,64.5]", "MODEL.PIXEL_STD=[1,1,1]", "SOLVER.STEPS=[]", DATA).keys

    assert keys["MODEL.ANCHOR_GENERATOR.SIZES"] == [32, 64.5]
    assert [type(one) for one in keys["MODEL.PIXEL_STD"]] == [int, int, int]
    assert keys["SOLVER.STEPS"] == []


@pytest.mark.parametrize("flags", [["--help"], ["--info", "defaults"], ["--cfg", "job"], ["--cfg", "hydra"]])
def test_hydras_own_options_print_and_call_nothing(flags, capsys):
    calls: list[RunRequest] = []

    with contextlib.suppress(SystemExit):
        run_hydra([*flags, "experiment=coco"], calls.append)

    assert not calls
    assert capsys.readouterr().out


def test_help_lists_the_groups(capsys):
    with pytest.raises(SystemExit):
        run_hydra(["--help"], lambda _: None)

    printed = capsys.readouterr().out
    assert "experiment: coco, coco_quick" in printed
    assert "COCO-InstanceSegmentation__mask_rcnn_R_50_FPN_3x" in printed


@pytest.mark.parametrize(
    ("line", "offered"),
    [
        ("launcher train experiment=coco_q", "experiment=coco_quick"),
        ("launcher train experiment=coco SOLVER.BASE", "SOLVER.BASE_LR="),
        (
            "launcher plan model=COCO-Keypoints__keypoint_rcnn_X",
            "model=COCO-Keypoints__keypoint_rcnn_X_101_32x8d_FPN_3x",
        ),
    ],
)
def test_a_shell_gets_its_completions(line, offered, monkeypatch, capsys):
    monkeypatch.setenv("COMP_LINE", line)

    run_hydra(["-sc", "query=bash"], lambda _: None)

    assert offered in capsys.readouterr().out.split()
    assert os.environ["COMP_LINE"] == line


def test_composing_imports_neither_torch_nor_anything_else_that_is_slow():
    program = (
        "import sys; from launcher.config.compose import run_hydra\n"
        "run_hydra(['experiment=coco'], lambda request: None)\n"
        "print(sorted({'torch', 'detectron2', 'numpy', 'rich', 'cattrs'} & set(sys.modules)))"
    )

    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)

    assert done.stdout.strip() == "[]"
    assert done.stderr == ""


def test_a_folder_that_is_spelled_like_detectron2s_default_is_taken(own_configs):
    (own_configs / "experiment" / "mine.yaml").write_text("# @package _global_\nOUTPUT_DIR: ./output\n")

    typed = requested("OUTPUT_DIR=./output", DATA)
    of_a_file = requested("experiment=mine", DATA, "--config-dir", str(own_configs))

    assert run_folder(typed) == Path("output").absolute()
    assert run_folder(of_a_file) == Path("output").absolute()
    assert run_folder(requested(DATA)).parent == Path("outputs/GeneralizedRCNN-mine").absolute()


@pytest.mark.parametrize("typed", ["MODEL.DEVICE=cuda", "MODEL={DEVICE:cuda}"])
def test_a_device_that_is_spelled_like_detectron2s_default_insists(typed):
    assert requested(typed, DATA).device.choice is DeviceChoice.cuda
    assert requested("MODEL.MASK_ON=true", DATA).device.choice is DeviceChoice.auto


def test_a_device_in_a_file_insists_in_its_own_job_of_a_sweep_only(own_configs):
    for name, content in (("one", "MODEL: {DEVICE: cuda}"), ("two", "SEED: 3")):
        (own_configs / "experiment" / f"{name}.yaml").write_text(f"# @package _global_\n{content}\n")
    requests: list[RunRequest] = []

    run_hydra(
        ["-m", "experiment=one,two", DATA, "--config-dir", str(own_configs), f"run.root={own_configs}"],
        requests.append,
    )

    assert [request.device.choice for request in requests] == [DeviceChoice.cuda, DeviceChoice.auto]


def test_files_of_ones_own_without_their_kind_are_refused_with_a_command_that_composes():
    typed = ["model=COCO-Detection/retinanet_R_50_FPN_1x", "dataset.train.json=a.json", "dataset.train.images=a"]

    with pytest.raises(RequestError) as refused:
        run_hydra(typed, print, command="launcher plan")

    *_, corrected = str(refused.value).splitlines()
    assert corrected.strip() == f"launcher plan dataset=coco_json {' '.join(typed)}"
    assert requested(*corrected.split()[2:]).dataset.kind is DatasetKind.coco_json


@pytest.mark.parametrize(("encoding", "is_shown"), [("ascii", False), ("utf-8", True)])
def test_a_command_that_the_screen_cannot_show_is_not_shown(
    encoding: str, is_shown: bool, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(sys, "stderr", io.TextIOWrapper(io.BytesIO(), encoding=encoding))

    with pytest.raises(RequestError, match=r"nearest: SOLVER\.BASE_LR") as refused:
        run_hydra(["run.name=\u00e9", "SOLVER.BASE_LRR=1", DATA], print)

    assert ("Type:" in str(refused.value)) is is_shown


def test_a_command_that_would_be_refused_itself_is_not_shown():
    with pytest.raises(RequestError, match="Add dataset=coco_json") as refused:
        run_hydra(["model=COCO-Detection/retinanet_R_50_FPN_1x", "dataset.val.json=a.json"], print)

    assert "Type:" not in str(refused.value)


@pytest.mark.parametrize("setting", ["run.root", "dataset.root", "MODEL.WEIGHTS", "OUTPUT_DIR", "resume"])
@pytest.mark.parametrize("path", ["~/x", "$PLACE/x"])
def test_the_home_folder_and_variables_are_put_into_paths(setting, path, monkeypatch):
    monkeypatch.setenv("HOME", "/home/me")
    monkeypatch.setenv("PLACE", "/home/me")

    request = requested(f"{setting}={path}", DATA)

    section, _, name = setting.partition(".")
    value = request.keys.get(setting, None) or getattr(getattr(request, section), name, request.resume)
    assert value == "/home/me/x"


def test_a_variable_that_is_not_set_is_named(monkeypatch):
    monkeypatch.delenv("NOWHERE", raising=False)

    with pytest.raises(RequestError, match=r"run\.root=\$NOWHERE/x: the environment variable NOWHERE is not set"):
        requested("run.root=$NOWHERE/x", DATA)


def test_a_file_that_includes_itself_is_refused_by_its_defaults(tmp_path: Path):
    (tmp_path / "experiment").mkdir()
    (tmp_path / "experiment" / "circle.yaml").write_text("# @package _global_\ndefaults:\n  - circle\n")

    with pytest.raises(RequestError, match=r"includes itself.*`defaults:`"):
        requested("experiment=circle", "dataset=coco_2017", "--config-dir", str(tmp_path))


def test_the_files_of_a_folder_are_found_when_the_request_is_composed(tmp_path):
    for part in ("train", "valid"):
        (tmp_path / part).mkdir()
        (tmp_path / part / "_annotations.coco.json").write_text('{"images": [{"file_name": "a.jpg"}]}')
        (tmp_path / part / "a.jpg").touch()

    request = requested("dataset=coco_json", f"dataset.root={tmp_path}")

    assert request.dataset.train.json == str(tmp_path / "train/_annotations.coco.json")
    assert request.dataset.val.images == str(tmp_path / "valid")
    assert "as Roboflow does it" in request.found.notes[0]


def test_a_folder_without_files_is_refused_beside_every_other_mistake(tmp_path):
    with pytest.raises(RequestError) as refused:
        requested("dataset=coco_json", f"dataset.root={tmp_path}", "SOLVER.MAX_ITER=0")

    assert "no data set in COCO format is found there (it is empty)" in str(refused.value)
    assert "SOLVER.MAX_ITER=0: must be >= 1" in str(refused.value)
    assert "is not set" not in str(refused.value)


@pytest.mark.parametrize(
    ("typed", "devices"),
    [
        (["device=cpu"], "cpu"),
        (["device.choice=cpu"], "cpu"),
        (["device=cpu", "pool.devices=auto"], "${pool.devices}"),
        (["device=cpu,cuda"], "${pool.devices}"),
        ([], "${pool.devices}"),
    ],
)
def test_a_sweep_that_is_to_train_on_the_cpu_leaves_gpus_alone(typed: list[str], devices: str):
    settings = list(plugins_for(take_apart(["-m", *typed, "SEED=1,2"])))

    assert f"hydra.launcher.devices={devices}" in settings


def test_every_list_of_text_of_our_own_is_looked_into():
    assert set(TEXT_LISTS) == {one.name for one in own_settings() if one.type == "list of text"} - {"config_extensions"}
