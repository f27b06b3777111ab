"""The progress line, on screens of several widths and without a screen."""

from __future__ import annotations

import io
from types import SimpleNamespace

import pytest
from detectron2.utils.events import EventStorage
from rich.cells import cell_len
from rich.console import Console

from launcher.train.output.progress import Numbers, Progress, losses_in
from launcher.train.state import Evaluated, TrainingState

NUMBERS = Numbers(
    loss="loss 1.23",
    terms="(cls 0.4, box_reg 0.33)",
    lr="lr 0.0025",
    speed="12.3 img/s",
    metric="bbox/AP 37.2",
)


def progress_on(console: Console, *, metrics: dict[str, float]) -> tuple[Progress, EventStorage]:
    """After 1,200 of 90,000 iterations."""
    state = TrainingState(max_iter=90_000, iterations_done=1200, evaluated=Evaluated(after=999, metrics=metrics))
    hook = Progress(20, state, images_per_iteration=16, console=console)
    storage = EventStorage(1199)
    for name, value in (("total_loss", 1.234), ("loss_cls", 0.4), ("loss_rpn_loc", 0.83), ("validation/loss_cls", 9.0)):
        storage.put_scalar(name, value)
    storage.put_scalar("lr", 0.0025, smoothing_hint=False)
    storage.put_scalar("time", 1.3)
    hook.trainer = SimpleNamespace(storage=storage)
    return hook, storage


def test_a_plain_line_has_losses_lr_speed_and_the_latest_ap():
    printed = io.StringIO()
    hook, _ = progress_on(Console(file=printed, soft_wrap=True), metrics={"bbox/AP": 37.21, "bbox/AP50": 50.0})

    hook.before_train()
    hook.after_step()

    assert printed.getvalue() == (
        "iteration 1200/90000  loss 1.23 (cls 0.4, rpn_loc 0.83)  lr 0.0025  12.3 img/s  bbox/AP 37.2  eta 1 day, "
        "8:04:00\n"
    )


@pytest.mark.parametrize("metrics", [{}, {"bbox/AP": float("nan")}])
def test_there_is_no_ap_before_an_evaluation_gave_one(metrics: dict[str, float]):
    printed = io.StringIO()
    hook, _ = progress_on(Console(file=printed, soft_wrap=True), metrics=metrics)

    hook.after_step()

    assert "AP" not in printed.getvalue()


@pytest.mark.parametrize(
    ("columns", "shown"),
    [
        (160, ("training", "loss 1.23 (cls 0.4, rpn_loc 0.83)", "lr 0.0025", "12.3 img/s", "bbox/AP 37.2")),
        (80, ("loss 1.23", "12.3 img/s", "bbox/AP 37.2")),
        (60, ("loss 1.23",)),
        (40, ()),
    ],
)
def test_the_line_on_a_terminal_fits_into_it(columns: int, shown: tuple[str, ...]):
    console = Console(
        file=io.StringIO(), force_terminal=True, width=columns, color_system=None, record=True, _environ={}
    )
    hook, _ = progress_on(console, metrics={"bbox/AP": 37.21})

    hook.before_train()
    hook.after_step()
    assert hook.live is not None
    hook.live.refresh()
    (line,) = console.render_lines(hook.live.get_renderable(), pad=False)
    hook.close()

    text = "".join(segment.text for segment in line)
    assert cell_len(text) <= columns
    assert [part for part in shown if part not in text] == []
    assert columns < 60 or text.rstrip().endswith("eta 1 day, 8:04:00")


def test_a_terminal_that_cannot_move_its_cursor_gets_plain_lines():
    printed = io.StringIO()
    console = Console(file=printed, force_terminal=True, soft_wrap=True, _environ={"TERM": "dumb"})
    hook, _ = progress_on(console, metrics={})

    hook.before_train()
    hook.after_step()

    assert printed.getvalue().startswith("iteration 1200/90000  loss")


@pytest.mark.parametrize(
    ("room", "text"),
    [
        (
            200,
            "loss 1.23 (cls 0.4, box_reg 0.33) lr 0.0025 12.3 img/s bbox/AP 37.2",
        ),
        (45, "loss 1.23 lr 0.0025 12.3 img/s bbox/AP 37.2"),
        (40, "loss 1.23 12.3 img/s bbox/AP 37.2"),
        (25, "loss 1.23 12.3 img/s"),
        (10, "loss 1.23"),
        (3, ""),
    ],
)
def test_what_is_missed_least_is_left_out_first(room: int, text: str):
    assert NUMBERS.fitting(room) == text


def test_losses_on_validation_images_are_no_terms_of_the_loss():
    _, storage = progress_on(Console(file=io.StringIO()), metrics={})

    assert losses_in(storage, 8) == ("loss 1.23", "(cls 0.4, rpn_loc 0.83)")
