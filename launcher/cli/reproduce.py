"""`launcher reproduce`: with what a run was trained; with --run, train it once more and compare the weights."""

from __future__ import annotations

import argparse
import json
import os
import shlex
import subprocess
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from launcher.cli.chosen import add_root, add_run
from launcher.cli.resume import train_frozen
from launcher.config.adjustment import Adjustment
from launcher.errors import ExitCode, LauncherError, RequestError, printable
from launcher.launch.provenance import provenance
from launcher.run.difference import Difference
from launcher.run.found import called, find_run, is_run
from launcher.run.frozen import Frozen, read_frozen
from launcher.run.paths import RunPaths
from launcher.run.recipe import Recipe, differences_from, read_recipe
from launcher.safe_start import python_command
from launcher.show.difference import difference_lines
from launcher.show.recipe import recipe_json, recipe_text

COMPARE = "launcher.train.checkpoints.same_weights"


def run(arguments: Sequence[str]) -> int:
    """Print the recipe, or follow it; 1 where other weights came out.

    Raises:
        LauncherError: there is no such run, or it cannot be trained once more.
    """
    asked = _parser().parse_args(arguments)
    folder = find_run(asked.run, asked.root)
    recipe, different = read_recipe(folder), differences_from(folder, provenance([], os.environ))
    if asked.folder is not None:
        return _train_once_more(folder, Path(asked.folder or f"{folder}.reproduced").absolute(), recipe, different)
    text = recipe_json(recipe, different) if asked.json else recipe_text(recipe, different, shlex.quote(called(folder)))
    print(printable(text))
    return ExitCode.finished


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="launcher reproduce", description="Command, commit and packages of a run.")
    add_run(parser)
    how = "train it once more, in FOLDER (RUN.reproduced), and compare the weights"
    parser.add_argument("--run", dest="folder", nargs="?", const="", metavar="FOLDER", help=how)
    add_root(parser)
    parser.add_argument("--json", action="store_true", help="the same as JSON")
    return parser


def _train_once_more(folder: Path, fresh: Path, recipe: Recipe, different: Sequence[Difference]) -> int:
    there, here, name = RunPaths(folder), RunPaths(fresh), called(folder)
    if not there.final_weights.exists():
        raise RequestError(f"{name} has no final weights to compare with. Train it to its end: launcher resume {name}")
    is_unfinished = is_run(fresh) and not here.final_weights.exists()
    if fresh.exists() and not is_unfinished:
        raise RequestError(f"{fresh} is there already. Name another folder: launcher reproduce {name} --run FOLDER")
    frozen = _once_more(read_frozen(folder), fresh, recipe)
    train_frozen(frozen, [], command=("launcher", "reproduce", str(folder), "--run", str(fresh)), name=called(fresh))
    found = _compare(there.final_weights, here.final_weights)
    print(printable("\n".join(_verdict(found, name, recipe, different))))
    return ExitCode.training_failed if found["differing"] else ExitCode.finished


def _once_more(frozen: Frozen, fresh: Path, recipe: Recipe) -> Frozen:
    """The same with the seed that was drawn, in another folder."""
    where = Adjustment(setting="OUTPUT_DIR", asked=None, planned=str(fresh), reason="a fresh folder")
    seed = [Adjustment(setting="SEED", asked=None, planned=recipe.seed, reason="as drawn")] if recipe.seed else []
    return replace(frozen, request=replace(frozen.request, keys=frozen.request.keys.with_([where, *seed])))


def _compare(one: Path, other: Path) -> dict[str, Any]:
    """In a process of its own, which imports torch.

    Raises:
        LauncherError: one of them cannot be read.
    """
    command = [*python_command(COMPARE), str(one), str(other)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise LauncherError(f"{one} and {other} could not be compared: {done.stderr.strip().rpartition(chr(10))[2]}")
    found: dict[str, Any] = json.loads(done.stdout)
    return found


def _verdict(found: dict[str, Any], name: str, recipe: Recipe, different: Sequence[Difference]) -> list[str]:
    if not found["differing"]:
        return [f"reproduced: all {found['tensors']} tensors of {name} came out bit-identical"]
    lines = [
        f"not reproduced: {len(found['differing'])} of {found['tensors']} tensors differ from {name}, "
        f"by at most {found['largest']:.3g}"
    ]
    if recipe.changed:
        lines.append(f"  changed on the way: {', '.join(recipe.changed)}")
    lines += [f"  {line}" for line in difference_lines(different)]
    return lines if len(lines) > 1 else [*lines, "  nothing that was recorded is different here"]
