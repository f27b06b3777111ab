"""Damaged checkpoints: none may be accepted with other content, and a training ends as without the damage."""

from __future__ import annotations

import os
import random
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

from launcher.config.request import RunRequest
from launcher.errors import RequestError
from launcher.run.manifest import manifest_path
from launcher.run.resume import damage_of, numbered_checkpoints
from scripts.reliability.attempts import begin, run_to_end
from scripts.reliability.job import Job, make_job, paths_of
from scripts.reliability.result import Row, end_of

BLOCK = 4096
Damage = Callable[[bytearray, random.Random], None]


def flip_a_bit(content: bytearray, chance: random.Random) -> None:
    content[chance.randrange(len(content))] ^= 1 << chance.randrange(8)


def flip_a_byte(content: bytearray, chance: random.Random) -> None:
    content[chance.randrange(len(content))] ^= 0xFF


def put_garbage(content: bytearray, chance: random.Random) -> None:
    start = chance.randrange(len(content) - 512)
    content[start : start + 512] = chance.randbytes(512)


def put_zeros(content: bytearray, chance: random.Random) -> None:
    start = chance.randrange(len(content) // BLOCK) * BLOCK
    content[start : start + BLOCK] = bytes(min(BLOCK, len(content) - start))


def swap_blocks(content: bytearray, chance: random.Random) -> None:
    one, two = (number * BLOCK for number in chance.sample(range(len(content) // BLOCK), 2))
    content[one : one + BLOCK], content[two : two + BLOCK] = content[two : two + BLOCK], content[one : one + BLOCK]


def cut_off(content: bytearray, chance: random.Random) -> None:
    del content[chance.randrange(len(content)) :]


def lengthen(content: bytearray, chance: random.Random) -> None:
    content += chance.randbytes(chance.randrange(1, BLOCK))


def empty(content: bytearray, chance: random.Random) -> None:  # noqa: ARG001 - a damage like the others
    content.clear()


DAMAGES: tuple[Damage, ...] = (flip_a_bit, flip_a_byte, put_garbage, put_zeros, swap_blocks, cut_off, lengthen, empty)


def damage_many(whole: Path, folder: Path, count: int, seed: int, *, with_manifest: bool) -> Row:
    """`count` damages, each to a fresh copy of a checkpoint; what is found valid must load with equal content."""
    content, truth = whole.read_bytes(), torch.load(whole, weights_only=True)
    noticed, harmless, silent, misses = 0, 0, 0, []
    chance = random.Random(f"damage {seed} {with_manifest}")
    for number in range(count):
        hurt = bytearray(content)
        damage = DAMAGES[number % len(DAMAGES)]
        damage(hurt, chance)
        path = folder / "model_0000009.pth"
        path.write_bytes(hurt)
        if with_manifest:
            shutil.copyfile(manifest_path(whole), manifest_path(path))
        silent += loads_with_other_content(path, truth)
        if damage_of(path) is not None:
            noticed += 1
        elif loads_with_equal_content(path, truth):
            harmless += 1
        else:
            misses.append(f"{damage.__name__}, number {number}: accepted")
        path.unlink()
        manifest_path(path).unlink(missing_ok=True)
    beside = "ours, with the checksum beside" if with_manifest else "as detectron2 writes them, without one"
    return Row(
        part="damage",
        tried=f"{count} random damages to checkpoints, {beside}",
        measured=f"{noticed} noticed, {harmless} without effect on the content, {len(misses)} accepted with other "
        f"content; torch.load alone takes {silent} of them with other content",
        misses=tuple(misses),
    )


def loads_with_equal_content(path: Path, truth: Any) -> bool:
    try:
        return same(torch.load(path, weights_only=True), truth)
    except Exception:
        return False


def loads_with_other_content(path: Path, truth: Any) -> bool:
    try:
        return not same(torch.load(path, weights_only=True), truth)
    except Exception:
        return False


def same(one: Any, other: Any) -> bool:
    if isinstance(one, torch.Tensor):
        return isinstance(other, torch.Tensor) and one.dtype == other.dtype and torch.equal(one, other)
    if isinstance(one, dict):
        return isinstance(other, dict) and one.keys() == other.keys() and all(same(one[k], other[k]) for k in one)
    if isinstance(one, list | tuple):
        return type(one) is type(other) and len(one) == len(other) and all(map(same, one, other))
    return bool(one == other) or (one != one and other != other)


POINTERS = ("empty", "of another file", "missing", "garbage")


def resume_from_damaged(job: Job, count: int, seed: int) -> Row:
    """Trainings stopped in the middle, whose newest or both checkpoints are then damaged, with a wrong pointer too."""
    whole = job.named("whole")
    run_to_end(whole)
    start = job.named("start")
    attempt = begin(start)
    attempt.wait_until(11)
    attempt.send(9)
    attempt.ended()
    resumed, refused, misses = 0, 0, []
    chance = random.Random(f"going on {seed}")
    for number in range(count):
        request = _fresh_copy(start, job.named(f"damaged-{number}"))
        which = chance.choice(("newest", "both"))
        _damage_in_folder(request, which, POINTERS[number % len(POINTERS)], chance)
        try:
            run_to_end(request)
            resumed += 1
        except RequestError:  # no valid one is left: it says so, and what to do
            refused += 1
            run_to_end(start_over(request))
        if end_of(request) != end_of(whole):
            misses.append(f"training {number}, {which} damaged: another end")
    return Row(
        part="damage",
        tried=f"{count} trainings with the newest or both checkpoints damaged and a wrong last_checkpoint",
        measured=f"{count - len(misses)}/{count} same weights and metrics: {resumed} resumed by themselves, "
        f"{refused} without any valid one said so and started over with resume=never",
        misses=tuple(misses),
    )


def start_over(request: RunRequest) -> RunRequest:
    """What `resume=never` does, without another composition: the folder is renamed away."""
    from launcher.launch.record import archive

    archive(paths_of(request).folder)
    return request


def _fresh_copy(start: RunRequest, request: RunRequest) -> RunRequest:
    shutil.copytree(paths_of(start).folder, paths_of(request).folder)
    return request


def _damage_in_folder(request: RunRequest, which: str, pointer: str, chance: random.Random) -> None:
    paths = paths_of(request)
    newest_first = [path for _, path in sorted(numbered_checkpoints(paths).items(), reverse=True)]
    for path in newest_first[: 1 if which == "newest" else None]:
        content = bytearray(path.read_bytes())
        chance.choice(DAMAGES)(content, chance)
        os.unlink(path)
        path.write_bytes(content)
    target = paths.checkpoints / "last_checkpoint"
    texts = {"empty": "", "of another file": "model_9999999.pth", "garbage": chance.randbytes(40).hex()}
    if pointer == "missing":
        target.unlink(missing_ok=True)
    else:
        target.write_text(texts[pointer])


def run_part(folder: Path, times: float, seed: int) -> list[Row]:
    job = make_job(folder)
    ends = resume_from_damaged(job, max(1, round(20 * times)), seed)
    whole = paths_of(job.named("whole")).final_weights
    newest = max(numbered_checkpoints(paths_of(job.named("whole"))).items())[1]
    assert whole.samefile(newest)
    count = max(len(DAMAGES), round(300 * times))
    rows = [damage_many(newest, folder, count, seed, with_manifest=beside) for beside in (True, False)]
    return [*rows, ends]
