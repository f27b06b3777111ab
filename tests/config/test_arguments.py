from __future__ import annotations

import pytest

from launcher.config.arguments import (
    command_of_one,
    completion_line,
    for_hydra,
    override_for_hydra,
    take_apart,
    with_text_as_typed,
)


@pytest.mark.parametrize(
    ("typed", "for_hydra"),
    [
        ("model=COCO-Detection/retinanet_R_50_FPN_1x", "model=COCO-Detection__retinanet_R_50_FPN_1x"),
        ("model=COCO-Detection/retinanet_R_50_FPN_1x.yaml", "model=COCO-Detection__retinanet_R_50_FPN_1x"),
        ("model=LVISv0.5-InstanceSegmentation/x", "model=LVISv0.5-InstanceSegmentation__x"),
        ("model=A/b,C/d.yaml", "model=A__b,C__d"),
        ("experiment=coco", "+experiment=coco"),
        ("+experiment=coco", "+experiment=coco"),
        ("debug=cpu", "+debug=cpu"),
        ("~debug", "~debug"),
        ("MODEL.WEIGHTS=a/b.yaml", "MODEL.WEIGHTS=a/b.yaml"),
        ("dataset=voc", "dataset=voc"),
        ("run.name=\u043a\u043b\u044e\u0447", 'run.name="\u043a\u043b\u044e\u0447"'),
        ("MODEL.WEIGHTS=a/\u00e9-1.pth", 'MODEL.WEIGHTS="a/\u00e9-1.pth"'),
        ("run.name='\u00e9 x'", "run.name='\u00e9 x'"),
    ],
)
def test_an_override_gets_the_form_that_hydra_wants(typed, for_hydra):
    assert override_for_hydra(typed) == for_hydra


def test_flags_and_overrides_may_be_typed_in_any_order():
    arguments = take_apart(["a=1", "--cfg", "job", "b=2", "-m", "--config-dir", "my", "c=3"])

    assert arguments.overrides == ("a=1", "b=2", "c=3")
    assert arguments.flags == ("--cfg", "job", "-m", "--config-dir", "my")
    assert arguments.is_multirun
    assert arguments.config_dir == "my"


@pytest.mark.parametrize(
    ("typed", "overrides", "flags"),
    [
        (["--info", "a=1"], ("a=1",), ("--info",)),
        (["--info", "defaults", "a=1"], ("a=1",), ("--info", "defaults")),
        (["--config-dir=my", "a=1"], ("a=1",), ("--config-dir=my",)),
        (["--cfg"], (), ("--cfg",)),
    ],
)
def test_a_flag_takes_its_value_and_no_more(typed, overrides, flags):
    arguments = take_apart(typed)

    assert (arguments.overrides, arguments.flags) == (overrides, flags)


def test_debug_comes_after_the_experiment_wherever_they_are_typed():
    arguments = take_apart(["debug=cpu", "SOLVER.MAX_ITER=3", "experiment=coco", "-m"])

    assert for_hydra(arguments) == ["SOLVER.MAX_ITER=3", "+experiment=coco", "+debug=cpu", "-m"]


@pytest.mark.parametrize(
    ("typed", "for_hydra"),
    [
        ("resume=outputs/x/BASE_LR=0.1,B=4/m.pth", 'resume="outputs/x/BASE_LR=0.1,B=4/m.pth"'),
        ("+resume=a=1", '+resume="a=1"'),
        ('resume="a=1,b"', 'resume="a=1,b"'),
        ("resume=a,b", "resume=a,b"),
        ("other=a=1", "other=a=1"),
        ("resume=choice(a,b=1)", "resume=choice(a,b=1)"),
    ],
)
def test_a_path_into_a_run_needs_no_quotes(typed: str, for_hydra: str):
    arguments = with_text_as_typed(take_apart([typed]), {"resume"})

    assert arguments.overrides == (for_hydra,)


def test_no_arguments_are_fine():
    arguments = take_apart([])

    assert for_hydra(arguments) == []
    assert arguments.config_dir is None


def test_the_options_of_a_group_are_found_with_and_without_plus():
    arguments = take_apart(["experiment=a,b", "+debug=c", "dataset.root=x", "solver=[a,b]"])

    assert arguments.chosen("experiment") == ("a", "b")
    assert arguments.chosen("solver") == ("a", "b")
    assert arguments.chosen("debug") == ("c",)
    assert arguments.chosen("dataset") == ()


@pytest.mark.parametrize(
    ("line", "for_hydra"),
    [
        ("launcher train experiment=coco SOLVER.", "launcher +experiment=coco SOLVER."),
        ("launcher plan model=A/b dev", "launcher model=A__b dev"),
        ("launcher experiment=co", "launcher experiment=co"),
        ("launcher tr", "launcher tr"),
    ],
)
def test_a_shell_completes_without_the_verb(line, for_hydra):
    assert completion_line(line) == for_hydra


@pytest.mark.parametrize(
    ("command", "own", "one"),
    [
        ("launcher train -m a=1 SEED=1,2", "a=1 SEED=1", "launcher train a=1 SEED=1"),
        ("launcher train --config-dir my --multirun SEED=1,2", "SEED=1", "launcher train --config-dir my SEED=1"),
        (
            "launcher train -m --detach cluster=slurm cluster.max_parallel=2 SEED=1,2",
            "cluster=slurm cluster.max_parallel=2 cluster.detach=true SEED=1",
            "launcher submit cluster=slurm SEED=1",
        ),
    ],
)
def test_a_job_is_trained_again_by_a_command_without_the_sweep(command: str, own: str, one: str):
    assert " ".join(command_of_one(command.split(), own.split())) == one
