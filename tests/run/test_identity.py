from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import pytest

from launcher.config.keys import Keys
from launcher.config.request import (
    DeviceChoice,
    DeviceRequest,
    EarlyStoppingSettings,
    EmaSettings,
    OwnCode,
    RunRequest,
    RunSettings,
)
from launcher.run.identity import differences, identity_of, name_of, run_folder
from tests.values import TYPED, a_request, changed_keys

REQUEST = a_request(
    {
        "OUTPUT_DIR": "./output",
        "SOLVER": {"BASE_LR": 0.02, "CHECKPOINT_PERIOD": 5000, "STEPS": [1, 2]},
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
    assert one.name == "SOLVER.BASE_LR-0.001+SOLVER.MAX_ITER-20"


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
    assert name_of((override,)) == "default"


@pytest.mark.parametrize(
    ("override", "other"),
    [
        ("INPUT.MIN_SIZE_TRAIN=[1,2]", "INPUT.MIN_SIZE_TRAIN=[12]"),
        ("dataset.train.json=/a/train.json", "dataset.train.json=/b/train.json"),
        (f"MODEL.WEIGHTS={'a' * 200}", f"MODEL.WEIGHTS={'a' * 201}"),
    ],
)
def test_names_that_lose_something_are_told_apart_by_a_hash(override: str, other: str):
    assert name_of((override,)) != name_of((other,))


def test_of_a_setting_typed_twice_the_last_one_counts():
    assert name_of(("SOLVER.BASE_LR=1", "SOLVER.BASE_LR=2")) == name_of(("SOLVER.BASE_LR=2",))


def test_keys_that_end_alike_are_told_apart():
    assert name_of(("MODEL.ROI_BOX_HEAD.NORM=GN",)) != name_of(("MODEL.ROI_MASK_HEAD.NORM=GN",))


@pytest.mark.parametrize("override", ["A.B=[1,2]", 'MODEL.WEIGHTS=""', "X='k=v, w'", "Y=" + "long" * 100, "~Z"])
def test_a_name_needs_no_quoting_in_a_shell_or_for_hydra(override: str):
    name = name_of((override,))

    assert 0 < len(name) < 100
    assert all(character.isalnum() or character in "._+-" for character in name)


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

    assert run_folder(named) == Path("outputs/coco/lr/SOLVER.BASE_LR-0.1").absolute()


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
    assert name_of(("early_stopping.patience=3", "ema.decay=0.999")) == "ema.decay-0.999"


def test_code_of_ones_own_makes_another_run_and_none_leaves_the_identity_as_it_was_before_there_could_be_any():
    plain = identity_of(REQUEST)
    own = dataclasses.replace(REQUEST, own_code=OwnCode(imports=("a.b", "c"), trainer="d:E"))

    assert not {"imports", "trainer", "own_code"} & set(plain)
    assert differences(plain, identity_of(own)) == [("imports", None, ["a.b", "c"]), ("trainer", None, "d:E")]
