"""What a run answers to Ctrl-C, or to another wish to stop: what it still does, and after a second one what is left."""

from __future__ import annotations

import signal

from launcher.run.heartbeat import ENDING, EVALUATION, SAVING, TRAINING, Beat
from launcher.run.plan import RunPlan, Train
from launcher.run.resume import ResumePoint

AGAIN = "; Ctrl-C again ends now"


def stopping_text(number: int, beat: Beat | None, plan: RunPlan) -> str:
    """The answer to a first signal of that number, by the worker's last heartbeat."""
    what = _what_is_left(beat, plan)
    return f"{what}{AGAIN}" if number == signal.SIGINT else f"{what} ({signal.Signals(number).name})"


def _what_is_left(beat: Beat | None, plan: RunPlan) -> str:
    stage = beat.stage if beat else ""
    if stage == ENDING:
        return "everything is done, ending"
    if not isinstance(plan.task, Train):
        return "stopping after the images at hand; what is done is kept"
    done = beat.iterations if beat else None
    if stage == EVALUATION:
        return "stopping the evaluation, then saving"
    if stage not in (TRAINING, SAVING) or done is None:
        return "stopping before the first iteration, with nothing to save"
    total = plan.keys["SOLVER.MAX_ITER"]
    if done >= total:
        return f"all {total} iterations are done, stopping after they are saved"
    return f"stopping after iteration {done + 1} of {total}, then saving"


def left_text(point: ResumePoint | None, done: int | None, plan: RunPlan) -> str:
    """Where a training that was ended at once would resume; `done` are the iterations it had come to."""
    if point is None:
        return "no checkpoint: the same command starts over"
    if point.next_iteration is None:
        return f"the same command resumes from {point.path}"
    lost = max(0, (done or 0) - point.next_iteration)
    what = "nothing is lost" if not lost else f"{lost} iteration{'s' if lost > 1 else ''} after it {_are(lost)} lost"
    total = plan.keys["SOLVER.MAX_ITER"]
    return f"iteration {point.next_iteration} of {total} is saved, where the same command resumes; {what}"


def _are(number: int) -> str:
    return "are" if number > 1 else "is"
