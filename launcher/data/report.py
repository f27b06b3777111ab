"""Everything that a check of data finds, as one value. Decides only: what is there has been read."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

from launcher.config.adjustment import Adjustment
from launcher.config.asked import names_in
from launcher.config.chosen_model import is_model_chosen
from launcher.config.request import RunRequest
from launcher.data.checks import IN_BOTH, findings_about
from launcher.data.coco_file import CocoFacts
from launcher.data.facts import DatasetFacts
from launcher.data.finding import Finding, Severity
from launcher.data.opened import Opened, findings_between, with_opened
from launcher.data.sizes import Sizes, findings_about_sizes, sizes_of

_BY_SEVERITY = list(Severity)


@dataclass(frozen=True, kw_only=True)
class ClassCount:
    """How often a class occurs in a file."""

    name: str
    objects: int
    images: int


@dataclass(frozen=True, kw_only=True)
class FileReport:
    """What one annotation file and its images hold."""

    name: str
    """Under which it is registered."""
    data_set: str
    """train or val."""
    json: str
    images_folder: str
    num_images: int
    num_annotated: int
    """Images with objects."""
    num_objects: int
    num_crowds: int
    num_opened: int
    """Images that were opened; 0 where none was to be."""
    classes: tuple[ClassCount, ...]
    sizes: Sizes | None
    """Of the boxes; None where there are none."""


@dataclass(frozen=True, kw_only=True)
class DataReport:
    """The answer to whether a run can train on its data."""

    files: tuple[FileReport, ...]
    findings: tuple[Finding, ...]
    """Errors first."""
    unread: tuple[str, ...]
    """Data sets of which only the presence is known."""

    @property
    def is_refused(self) -> bool:
        """Whether something would stop a training."""
        return any(finding.severity is Severity.error for finding in self.findings)


def report_on(request: RunRequest, facts: DatasetFacts, opened: Opened) -> DataReport:
    """Judge what was read, and the images that were opened."""
    facts = with_opened(facts, opened)
    findings = [one for one in findings_about(request, facts) if not (opened and one.code == IN_BOTH)]
    findings += findings_between(facts, opened)
    if is_model_chosen(request):
        findings += [one for coco in facts.coco for one in findings_about_sizes(coco, request.keys)]
    else:
        findings += _with_another_model(request, facts, findings)
    read = {coco.name for coco in facts.coco}
    return DataReport(
        files=tuple(_file_report(coco, request) for coco in facts.coco if not coco.unreadable),
        findings=tuple(sorted(findings, key=lambda one: _BY_SEVERITY.index(one.severity))),
        unread=tuple(entry.name for entry in facts.registered if entry.name not in read and not entry.missing),
    )


def _with_another_model(request: RunRequest, facts: DatasetFacts, known: list[Finding]) -> Iterator[Finding]:
    """What would matter to a model that learns all that is there, and to an evaluation: no model has been chosen."""
    seen = {(one.code, one.data_set) for one in known}
    learning = learning_all(request, facts, least=0.5)
    names = dict.fromkeys((*names_in(request.keys, "TEST"), *(coco.name for coco in facts.coco)))
    evaluated = replace(learning, keys=learning.keys.with_([_change(request, "DATASETS.TEST", list(names))]))
    for finding in findings_about(evaluated, facts):
        if (finding.code, finding.data_set) not in seen:
            is_error = finding.severity is Severity.error
            yield replace(finding, severity=Severity.warning) if is_error else finding


def learning_all(request: RunRequest, facts: DatasetFacts, *, least: float) -> RunRequest:
    """The request for a model that learns masks and keypoints, where that part of all objects or more have them."""
    objects = [coco.objects for coco in facts.coco if coco.objects.num]
    have_masks = any(one.num_with_mask >= least * one.num for one in objects)
    have_keypoints = any(one.num_with_keypoints >= least * one.num for one in objects)
    sigmas = [0.1] * max((number for one in objects for number in one.keypoints_per_object), default=0)
    changes = [
        _change(request, "MODEL.MASK_ON", have_masks or request.keys["MODEL.MASK_ON"]),
        _change(request, "MODEL.KEYPOINT_ON", have_keypoints or request.keys["MODEL.KEYPOINT_ON"]),
        _change(request, "TEST.KEYPOINT_OKS_SIGMAS", sigmas if have_keypoints else []),
    ]
    return replace(request, keys=request.keys.with_(changes))


def _change(request: RunRequest, setting: str, value: Any) -> Adjustment:
    return Adjustment(setting=setting, asked=request.keys[setting], planned=value, reason="no model is chosen")


def _file_report(coco: CocoFacts, request: RunRequest) -> FileReport:
    objects = coco.objects
    counts = objects.per_class or ((0, 0),) * len(coco.categories)
    return FileReport(
        name=coco.name,
        data_set=coco.split,
        json=coco.json,
        images_folder=coco.images,
        num_images=coco.num_images,
        num_annotated=objects.num_images,
        num_objects=objects.num,
        num_crowds=objects.num_crowds,
        num_opened=coco.num_headers if coco.is_opened else 0,
        classes=tuple(
            ClassCount(name=name, objects=num_objects, images=num_images)
            for (_, name), (num_objects, num_images) in zip(coco.categories, counts, strict=True)
        ),
        sizes=sizes_of(coco, request.keys, has_model=is_model_chosen(request)),
    )
