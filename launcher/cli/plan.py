"""`launcher plan`: the plan of a training, without training."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from functools import partial

from launcher.cli.flags import asks_for_help, take_flag, with_detach
from launcher.cli.training import make_board, make_session
from launcher.config.arguments import take_apart
from launcher.config.compose import run_hydra
from launcher.config.request import RunRequest
from launcher.config.yaml_files import YamlFiles
from launcher.errors import ExitCode
from launcher.launch.folder_lock import refuse_busy
from launcher.launch.prepare import Since, prepare
from launcher.launch.supervise import execute
from launcher.run.identity import run_folder
from launcher.show.console import make_console
from launcher.show.help import training_help
from launcher.show.run import plan_json, show_plan


def run(arguments: Sequence[str]) -> int:
    """Print the plan, as JSON with `--json`.

    Raises:
        LauncherError: `launcher train` would refuse it.
    """
    if asks_for_help(arguments):
        print(training_help("plan"))
        return ExitCode.finished
    asked, as_json = take_flag(with_detach(arguments), "--json")
    if take_apart(asked).is_multirun:
        # What only a sweep needs.
        from launcher.cli.sweep import plan_sweep

        return plan_sweep(asked, as_json=as_json)
    run_hydra(asked, partial(_print_plan, as_json=as_json, asked=asked), command="launcher plan", only_looks=True)
    return ExitCode.finished


def _print_plan(request: RunRequest, *, as_json: bool, asked: Sequence[str]) -> None:
    board = make_board(request)
    session = make_session(request, ("launcher", "plan"), partial(execute, others=board), board)
    refuse_busy(run_folder(request))
    plan = prepare(request, session, Since(began=session.now())).plan
    plan = replace(plan, report=replace(plan.report, notices=(*plan.report.notices, *_notices_of_looking(asked))))
    if as_json:
        print(plan_json(plan))
    else:
        show_plan(plan, make_console(), composition=True)  # also with logging.quiet: it is what was asked for


def _notices_of_looking(asked: Sequence[str]) -> Iterator[str]:
    """What a training would run or set, and a plan does not."""
    typed = (word.partition("=")[0].lstrip("+") for word in asked)
    in_words = [f"{name} on the command line" for name in typed if name.startswith("hydra.job.env_set")]
    for what in (*YamlFiles.left_out, *in_words):
        yield f"{what} is not applied here, launcher train applies it"
