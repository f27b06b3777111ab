from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import pytest

from launcher.config.keys import Keys
from launcher.config.request import (
    DatasetRequest,
    DeviceChoice,
    DeviceRequest,
    EarlyStoppingSettings,
    EmaSettings,
    OwnCode,
    RunRequest,
    RunSettings,
    ValRequest,
)
from launcher.launch.record import write_request
from launcher.run.identity import differences, identity_of, run_folder, settings_that_matter
from launcher.run.paths import RunPaths
from tests.values import TYPED, a_request, changed_keys

REQUEST = a_request(
    {
        "OUTPUT_DIR": "./output",
        "SOLVER": {"BASE_LR": 0.02, "CHECKPOINT_PERIOD": 5000, "STEPS": [1, 2], "MAX_ITER": 9},
        "MODEL": {"DEVICE": "cuda", "WEIGHTS": ""},
    },
    typed=dataclasses.replace(TYPED, experiment="coco", overrides=("+experiment=coco",)),
    run=RunSettings(root="outputs"),
)


def typing(**typed: Any) -> RunRequest:
    return dataclasses.replace(REQUEST, typed=dataclasses.replace(REQUEST.typed, **typed))


def with_overrides(*overrides: str) -> RunRequest:
    return typing(overrides=overrides)


def test_a_plain_experiment_is_named_default():
    assert run_folder(REQUEST) == Path("outputs/coco/default").absolute()


def test_overrides_name_the_run_in_any_order():
    one = run_folder(with_overrides("SOLVER.BASE_LR=0.001", "SOLVER.MAX_ITER=20"))
    other = run_folder(with_overrides("SOLVER.MAX_ITER=20", "SOLVER.BASE_LR=0.001"))

    assert one == other
    assert one.name == "BASE_LR=0.001,MAX_ITER=20"


@pytest.mark.parametrize(
    "override",
    [
        "device=cpu",
        "device.count=2",
        "resume=must",
        "run.root=elsewhere",
        "logging.period=1",
        "hydra/launcher=basic",
        "MODEL.DEVICE=cpu",
        "DATALOADER.NUM_WORKERS=0",
        "dataset.root=/elsewhere",
        "+experiment=coco",
    ],
)
def test_how_and_where_a_run_is_computed_does_not_rename_it(override: str):
    assert run_folder(with_overrides(override)).name == "default"


def test_of_a_setting_typed_twice_the_last_one_counts():
    assert settings_that_matter(("SOLVER.BASE_LR=1", "+SOLVER.BASE_LR=2")) == {"SOLVER.BASE_LR": "2"}


@pytest.mark.parametrize(
    ("overrides", "matters"),
    [
        (("dataset=coco_json", "dataset.root=/a"), True),
        (("dataset=coco_json", "dataset.root=/a", "dataset.train.json=t.json"), False),
        (("dataset=demo", "dataset.root=/a"), False),
    ],
)
def test_a_folder_in_which_files_are_looked_for_tells_runs_apart(overrides: tuple[str, ...], matters: bool):
    assert ("dataset.root" in settings_that_matter(overrides)) is matters


def test_a_part_of_the_training_images_that_validates_belongs_to_the_identity_only_if_there_is_one():
    whole = dataclasses.replace(REQUEST, dataset=DatasetRequest(val=ValRequest(json="v.json", seed=3)))
    parts = [
        dataclasses.replace(REQUEST, dataset=DatasetRequest(val=ValRequest(fraction=fraction, seed=seed)))
        for fraction, seed in ((0.2, 3), (0.2, 4), (0.3, 3))
    ]

    identities = [identity_of(request)["dataset"]["val"] for request in (whole, *parts)]

    assert identities[0] == {"json": "v.json", "images": ""}
    assert [(one["fraction"], one["seed"]) for one in identities[1:]] == [(0.2, 3), (0.2, 4), (0.3, 3)]


def a_run_of(request: RunRequest, folder: Path) -> Path:
    """A run as it is recorded when it starts there."""
    write_request(request, {}, RunPaths(folder), ["launcher", "train"])
    return folder


@pytest.mark.parametrize(
    ("overrides", "before"),
    [
        (("+experiment=coco", "SOLVER.BASE_LR=0.1"), "coco/SOLVER.BASE_LR-0.1"),
        (("SOLVER.BASE_LR=0.1",), "no-experiment/SOLVER.BASE_LR-0.1"),
        (("+experiment=coco", "SOLVER.STEPS=[1,2]"), "coco/SOLVER.STEPS-_1_2-771e0969"),
    ],
)
def test_a_run_that_an_earlier_version_named_continues_where_it_is(
    tmp_path: Path, overrides: tuple[str, ...], before: str
):
    request = typing(overrides=overrides, experiment="coco" if "+experiment=coco" in overrides else "")
    request = dataclasses.replace(request, run=RunSettings(root=str(tmp_path)))
    assert run_folder(request) != tmp_path / before

    a_run_of(request, tmp_path / before)

    assert run_folder(request) == tmp_path / before


def test_two_runs_whose_paths_differ_in_their_folders_only_are_told_apart_once_there_are_two(tmp_path: Path):
    one, other = (
        dataclasses.replace(with_overrides(f"MODEL.WEIGHTS=/{place}/best.pth"), run=RunSettings(root=str(tmp_path)))
        for place in ("a", "b")
    )
    first = a_run_of(one, run_folder(one))

    second = a_run_of(other, run_folder(other))

    assert first.name == "WEIGHTS=best"
    assert second.name.startswith("WEIGHTS=best-")
    assert (run_folder(one), run_folder(other)) == (first, second)
    (first / "request.yaml").unlink()
    assert run_folder(other) == second


def test_output_dir_as_typed_is_the_run_folder():
    request = dataclasses.replace(REQUEST, keys=changed_keys(REQUEST.keys, OUTPUT_DIR="/somewhere/else"))

    assert run_folder(request) == Path("/somewhere/else")


def test_places_that_say_what_they_are_may_be_used():
    here = dataclasses.replace(REQUEST, run=RunSettings(root=".", name="a/b..c"))

    assert run_folder(here) == Path("coco/a/b..c").absolute()
    assert run_folder(dataclasses.replace(REQUEST, keys=Keys({"OUTPUT_DIR": "."}))) == Path().absolute()


def test_a_named_sweep_gets_a_folder_per_job():
    overrides = ("SOLVER.MAX_ITER=9", "SOLVER.BASE_LR=0.1")
    sweep = typing(in_sweep=True, overrides=overrides, swept=("SOLVER.BASE_LR=0.1",))
    named = dataclasses.replace(sweep, run=RunSettings(root="outputs", name="lr"))

    assert run_folder(named) == Path("outputs/coco/lr/BASE_LR=0.1").absolute()


def test_differences_name_the_leaves_that_make_another_run():
    changed = dataclasses.replace(
        REQUEST,
        device=DeviceRequest(choice=DeviceChoice.cpu),
        keys=changed_keys(REQUEST.keys, SOLVER__BASE_LR=0.1, SOLVER__CHECKPOINT_PERIOD=7, MODEL__DEVICE="cpu"),
    )

    assert differences(identity_of(REQUEST), identity_of(changed)) == [("SOLVER.BASE_LR", 0.02, 0.1)]


def test_an_average_of_the_weights_makes_another_run_and_early_stopping_does_not():
    plain = identity_of(REQUEST)

    assert "ema" not in plain  # as in folders that were made before there was such a setting
    averaged = identity_of(dataclasses.replace(REQUEST, ema=EmaSettings(decay=0.999)))
    assert differences(plain, averaged) == [("ema.decay", None, 0.999)]
    assert identity_of(dataclasses.replace(REQUEST, early_stopping=EarlyStoppingSettings(metric="bbox/AP"))) == plain
    assert run_folder(with_overrides("early_stopping.patience=3", "ema.decay=0.999")).name == "ema.decay=0.999"


def test_code_of_ones_own_makes_another_run_and_none_leaves_the_identity_as_it_was_before_there_could_be_any():
    plain = identity_of(REQUEST)
    own = dataclasses.replace(REQUEST, own_code=OwnCode(imports=("a.b", "c"), trainer="d:E"))

    assert not {"imports", "trainer", "own_code"} & set(plain)
    assert differences(plain, identity_of(own)) == [("imports", None, ["a.b", "c"]), ("trainer", None, "d:E")]
