from __future__ import annotations

import inspect
from typing import Any

import pytest
from detectron2.engine import DefaultTrainer, HookBase, SimpleTrainer, TrainerBase, hooks
from detectron2.utils.events import CommonMetricPrinter, EventWriter, JSONWriter

from launcher.errors import RequestError
from launcher.train.build import CLOSED, OPEN, check_overrides, own_hooks, own_writers
from launcher.train.trainer import Trainer


def trainer_with(name: str, *bases: type) -> type:
    return type("MyTrainer", bases or (Trainer,), {name: classmethod(lambda *_: None)})


def test_the_launchers_own_trainer_may_train():
    check_overrides(Trainer)


@pytest.mark.parametrize("name", OPEN)
def test_what_builds_something_may_be_overridden_and_has_detectron2s_signature(name: str):
    check_overrides(trainer_with(name))

    if name != "build_mapper":  # ours alone
        ours, theirs = (inspect.signature(getattr(owner, name)) for owner in (Trainer, DefaultTrainer))
        assert list(ours.parameters) == list(theirs.parameters)


KINDS = (staticmethod, classmethod)


def methods_of(owner: type) -> set[str]:
    return {
        name for name, value in vars(owner).items() if callable(value) or isinstance(value, staticmethod | classmethod)
    }


PUBLIC = sorted(
    name
    for name in methods_of(DefaultTrainer) | methods_of(TrainerBase) | methods_of(SimpleTrainer)
    if not name.startswith("_")
)


@pytest.mark.parametrize("name", PUBLIC)
def test_every_public_method_of_detectron2s_trainers_is_either_open_or_closed_with_a_reason(name: str):
    assert (name in OPEN) != (name in CLOSED)


@pytest.mark.parametrize("name", [*CLOSED, "evaluate", "close", "_write_metrics"])
def test_what_would_have_no_effect_is_refused_by_name_with_what_to_do_instead(name: str):
    with pytest.raises(RequestError, match=rf"MyTrainer\.{name} would have no effect: .*\. Instead, "):
        check_overrides(trainer_with(name))


def test_a_mapper_that_is_built_by_an_instance_is_refused_with_the_word_that_is_missing():
    class MyTrainer(Trainer):
        def build_mapper(self, cfg: Any, is_train: bool) -> Any: ...  # type: ignore[override]

    with pytest.raises(RequestError, match=r"MyTrainer\.build_mapper is called on the class\. Write @classmethod"):
        check_overrides(MyTrainer)


def test_names_that_the_launcher_does_not_use_are_free():
    check_overrides(trainer_with("build_my_own_thing"))


def test_everything_that_is_wrong_is_named_at_once():
    class MyTrainer(Trainer):
        def run_step(self) -> None: ...

        @classmethod
        def test(cls, cfg: Any, model: Any, evaluators: Any = None) -> Any: ...

    with pytest.raises(RequestError, match=r"(?s)MyTrainer\.run_step.*MyTrainer\.test"):
        check_overrides(MyTrainer)


def test_a_mixin_may_override_and_is_looked_at_too():
    check_overrides(type("MyTrainer", (trainer_with("build_hooks", object), Trainer), {}))

    with pytest.raises(RequestError, match=r"run_step would have no effect"):
        check_overrides(type("MyTrainer", (trainer_with("run_step", object), Trainer), {}))


def test_an_override_behind_the_launchers_trainer_is_refused_with_the_order_that_works():
    class Project(DefaultTrainer):
        @classmethod
        def build_evaluator(cls, cfg: Any, dataset_name: str) -> Any: ...

    class Behind(Trainer, Project): ...

    class Before(Project, Trainer): ...

    check_overrides(Before)
    with pytest.raises(RequestError, match=r"Project\.build_evaluator would have no effect.*Name .*Project first"):
        check_overrides(Behind)


@pytest.mark.parametrize("wrong", [DefaultTrainer, dict, len])
def test_what_is_no_subclass_is_refused(wrong: Any):
    with pytest.raises(RequestError, match=r"no subclass of launcher\.train\.Trainer"):
        check_overrides(wrong)


class Built:
    """A trainer as far as its hooks and writers are asked for."""

    def __init__(self, *built: Any) -> None:
        self._built = list(built)

    def build_hooks(self) -> list[Any]:
        return self._built

    build_writers = build_hooks


class MyHook(HookBase): ...


class MyTimer(hooks.IterationTimer): ...


def test_hooks_of_ones_own_are_taken_as_they_are_without_the_gaps():
    one, two = MyHook(), MyTimer()

    assert own_hooks(Built(one, None, two)) == [one, two]  # type: ignore[arg-type]
    assert own_hooks(Built(hooks.EvalHook(0, dict)))  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("hook", "says"),
    [
        (hooks.LRScheduler(), "build_lr_scheduler"),
        (hooks.PeriodicWriter([]), "build_writers"),
        (hooks.IterationTimer(), "Leave it out"),
        ("no hook", "no HookBase"),
    ],
)
def test_hooks_whose_work_is_done_already_are_refused(hook: Any, says: str):
    with pytest.raises(RequestError, match=rf"Built\.build_hooks gives .*{says}"):
        own_hooks(Built(hook))  # type: ignore[arg-type]


class MyWriter(EventWriter): ...


def test_writers_of_ones_own_are_taken_and_those_of_the_launchers_files_refused(tmp_path: Any):
    writers = [MyWriter(), CommonMetricPrinter(9)]

    assert own_writers(Built(*writers)) == writers  # type: ignore[arg-type]
    with pytest.raises(RequestError, match=r"JSONWriter.*metrics\.json is written anyway"):
        own_writers(Built(JSONWriter(str(tmp_path / "metrics.json"))))  # type: ignore[arg-type]
