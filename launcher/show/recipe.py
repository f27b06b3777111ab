"""How a run can be trained once more, as a person reads it and as a program does (JSON)."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import asdict

from launcher.run.difference import Difference
from launcher.run.recipe import Recipe
from launcher.show.difference import difference_lines


def recipe_text(recipe: Recipe, different: Sequence[Difference], name: str) -> str:
    """Commands, commit and packages, and what is another one here and now."""
    return "\n".join([*_lines(recipe), *_packages(recipe), *_here(recipe, different, name)])


def recipe_json(recipe: Recipe, different: Sequence[Difference]) -> str:
    return json.dumps({**asdict(recipe), "different_here": [asdict(one) for one in different]}, indent=2)


def _lines(recipe: Recipe) -> Iterator[str]:
    for position, command in enumerate(recipe.commands or ("not recorded",)):
        yield f"{'command' if position == 0 else 'then':9} {command}"
    yield f"in        {recipe.working_directory or 'not recorded'}"
    changed = f", and {recipe.num_changed_lines} lines of diff, in provenance.json" if recipe.num_changed_lines else ""
    yield f"commit    {recipe.commit or 'none recorded'}{changed}"
    yield f"seed      {'not recorded' if recipe.seed is None else recipe.seed}"
    yield f"device    {recipe.device or 'not recorded'}"


def _packages(recipe: Recipe) -> Iterator[str]:
    versions = [f"{name}=={version}" for name, version in recipe.versions.items()]
    yield "packages"
    yield from (f"  {version}" for version in versions or ("not recorded",))


def _here(recipe: Recipe, different: Sequence[Difference], name: str) -> Iterator[str]:
    yield ""
    if recipe.changed:
        yield f"Changed on the way: {', '.join(recipe.changed)}. A single training gives other weights."
    if different:
        yield "Here and now other than there, so weights may differ:"
        yield from (f"  {line}" for line in difference_lines(different))
    elif recipe.versions:
        yield "Versions, code and CPU are those of here and now."
    yield f"Train it once more in a folder of its own, and compare: launcher reproduce {name} --run"
