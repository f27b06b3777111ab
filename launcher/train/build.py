"""Where a user's own code comes in: what of a trainer may be overridden, and what its hooks and writers may be."""

from __future__ import annotations

import inspect
from collections.abc import Iterable, Iterator, Mapping
from types import FunctionType
from typing import Any

from detectron2.engine import HookBase, SimpleTrainer, hooks
from detectron2.utils.events import EventWriter, JSONWriter, TensorboardXWriter

from launcher.errors import RequestError
from launcher.train.trainer import Trainer

OPEN = (
    "build_model",
    "build_optimizer",
    "build_lr_scheduler",
    "build_mapper",
    "build_train_loader",
    "build_test_loader",
    "build_evaluator",
    "build_hooks",
    "build_writers",
)
"""Methods of `Trainer` that may be overridden, each with detectron2's signature."""

_IN_A_HOOK = "do it in a hook's {name} and give that hook in build_hooks"
CLOSED: Mapping[str, tuple[str, str]] = {
    "__init__": (
        "the launcher makes the trainer, with arguments of its own",
        "make what you need in a build_ method, or in a hook's before_train",
    ),
    "train": ("the loop seeds, stops and resumes exactly", "do it in a hook and give that hook in build_hooks"),
    "run_step": (
        "an iteration is split into micro-batches, seeded, and looked through for NaN and Inf",
        "let the model give other losses (build_model), or act in a hook's after_backward or after_step (build_hooks)",
    ),
    "write_metrics": (
        "iterations are run by launcher.train.steps",
        "put scalars into trainer.storage in a hook's after_step (build_hooks)",
    ),
    "reset_data_loader": ("the order of samples is part of a checkpoint", "override build_train_loader"),
    "test": (
        "an evaluation can be stopped, and continues past images that cannot be read",
        "override build_evaluator or build_test_loader, or evaluate in a hook (build_hooks)",
    ),
    "resume_or_load": ("the launcher finds the checkpoint to resume from", "set resume=PATH or MODEL.WEIGHTS=PATH"),
    "auto_scale_workers": (
        "the launcher decides on processes and batches before training starts",
        "set SOLVER.IMS_PER_BATCH and device.count",
    ),
    "register_hooks": ("the order of hooks is the launcher's", "override build_hooks"),
    "state_dict": ("the launcher's checkpoints have a format of their own", "give a hook state_dict (build_hooks)"),
    "load_state_dict": (
        "the launcher's checkpoints have a format of their own",
        "give a hook load_state_dict (build_hooks)",
    ),
    **{
        name: ("the launcher's own hooks run there", _IN_A_HOOK.format(name=name))
        for name in ("before_train", "after_train", "before_step", "after_step", "after_backward")
    },
}
"""Methods of detectron2's trainers that may not be overridden: why not, and what to do instead."""

_OTHERWISE = ("the launcher uses that name for itself", "choose another name")


def check_overrides(trainer_class: Any) -> None:
    """Refuse a trainer that overrides what has no effect here, before anything is built.

    Raises:
        RequestError: it is no subclass of `launcher.train.Trainer`, or overrides what cannot be; all of it is named.
    """
    if not isinstance(trainer_class, type) or not issubclass(trainer_class, Trainer):
        raise RequestError(
            f"{_name_of(trainer_class)} cannot train here: it is no subclass of launcher.train.Trainer. "
            "Derive it from that class; its build_ methods have detectron2's signatures."
        )
    if problems := list(_problems_with(trainer_class)):
        raise RequestError("\n".join([f"{_name_of(trainer_class)} cannot be used as it is:", *problems]))


def _problems_with(trainer_class: type[Trainer]) -> Iterator[str]:
    if isinstance(inspect.getattr_static(trainer_class, "build_mapper"), FunctionType):
        # detectron2's loaders are built by class methods, which have no instance to call it on.
        yield f"  {trainer_class.build_mapper.__qualname__} is called on the class. Write @classmethod above it."
    order = trainer_class.__mro__
    before, after = order[: order.index(Trainer)], order[order.index(Trainer) :]
    for owner in before:
        for name in vars(owner):
            if _is_taken(name) and name not in OPEN:
                why, instead = CLOSED.get(name, _OTHERWISE)
                yield f"  {owner.__qualname__}.{name} would have no effect: {why}. Instead, {instead}."
    for owner in after:
        if owner not in Trainer.__mro__ and (hidden := sorted(set(vars(owner)) & {*OPEN, *CLOSED})):
            yield (
                f"  {owner.__qualname__}.{hidden[0]} would have no effect: launcher.train.Trainer comes before it. "
                f"Name {owner.__qualname__} first among the base classes of {trainer_class.__qualname__}."
            )


def is_overridden(trainer_class: type[Trainer], name: str) -> bool:
    """Whether a trainer has a method of its own under that name."""
    owner = next(owner for owner in trainer_class.__mro__ if name in vars(owner))
    return owner is not Trainer


def _is_taken(name: str) -> bool:
    if name.startswith("__"):
        return name == "__init__"
    return hasattr(Trainer, name) or hasattr(SimpleTrainer, name)


def _name_of(trainer_class: Any) -> str:
    return (
        f"{trainer_class.__module__}.{trainer_class.__qualname__}"
        if isinstance(trainer_class, type)
        else repr(trainer_class)
    )


ITS_OWN_HOOKS: Mapping[type[Any], str] = {
    hooks.IterationTimer: "Leave it out.",
    hooks.LRScheduler: "Leave it out, and override build_lr_scheduler for another schedule.",
    hooks.PeriodicCheckpointer: "Leave it out, and set checkpoint.period.",
    hooks.BestCheckpointer: "Leave it out, and set checkpoint.keep_best.",
    hooks.PeriodicWriter: "Leave it out, and override build_writers.",
    hooks.PreciseBN: "Leave it out, and set TEST.PRECISE_BN.ENABLED=True.",
}
"""Hooks of detectron2's whose work the launcher does already."""

ITS_OWN_WRITERS: Mapping[type[Any], str] = {
    JSONWriter: "Leave it out: metrics.json is written anyway.",
    TensorboardXWriter: "Leave it out, and set logging.tensorboard.",
}


def own_hooks(trainer: Trainer) -> list[HookBase]:
    """The hooks of `build_hooks`, checked.

    Raises:
        RequestError: one is no hook, or does what the launcher does anyway.
    """
    return list(_checked(trainer.build_hooks(), HookBase, ITS_OWN_HOOKS, f"{type(trainer).__qualname__}.build_hooks"))


def own_writers(trainer: Trainer) -> list[EventWriter]:
    """The writers of `build_writers`, checked.

    Raises:
        RequestError: one is no writer, or writes what the launcher writes anyway.
    """
    origin = f"{type(trainer).__qualname__}.build_writers"
    return list(_checked(trainer.build_writers(), EventWriter, ITS_OWN_WRITERS, origin))


def _checked(
    built: Iterable[Any] | None, kind: type[Any], its_own: Mapping[type[Any], str], origin: str
) -> Iterator[Any]:
    for one in built or ():
        if one is None:  # as detectron2's own lists have it for what is not wanted
            continue
        if not isinstance(one, kind):
            raise RequestError(f"{origin} gives {one!r}, which is no {kind.__name__} of detectron2.")
        if type(one) in its_own:
            raise RequestError(
                f"{origin} gives {type(one).__name__}, whose work the launcher does. {its_own[type(one)]}"
            )
        yield one
