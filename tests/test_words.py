"""What users read is written in the field's own terms: WORDS says what to write instead of the worst others."""

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]

WORDS = {
    r"(go(es|ing)?|went) on(?! (GPUs?|the (GPU|CPU)))": "resumes, continues",
    r"whole checkpoints?|newest whole|whole one left": "valid checkpoint",
    r"signs? of life": "heartbeat",
    r"images per forward pass|smaller passes|several passes": "micro-batch",
    r"(is|are|was|were|became|becomes) no numbers?": "NaN or Inf",
    r"pictures?": "image",
    r"slices?": "MIG instance",
    r"promis(es?|ed|ing)": "allocated (GPUs), guaranteed",
    r"masks? (over )?the driver|driver is masked|masked driver": "hides the driver library",
    r"verbs?": "command",
    r"comput(es?|ed|ing) in": "runs in",
    r"(sets?|setting|puts?) (it |them )?aside": "archives, renames",
    r"for want of": "out of (memory)",
    r"mend(s|ed|ing)?": "fix",
    r"st(ands?|ood|anding) in( for)?": "replaces",
    r"for ever": "without a limit",
    r"superfluous": "old, to be removed",
    r"(is|are|was|were|be|been) (also )?told": "reported, logged",
    r"without a word": "silently",
    r"anew": "again, from the start",
    r"broken[- ]off": "interrupted",
    r"(no|this) share": "fraction; per-process batch",
    r"outlived (while|as long)": "training continues",
}
"""A regular expression of whole words, and what to write instead."""


def texts_of(file: Path) -> Iterator[tuple[int, str]]:
    """The lines that a user can get to read, each with its number: of code its strings and docstrings alone."""
    text = file.read_text(encoding="utf-8")
    if file.suffix != ".py":
        yield from enumerate(text.splitlines(), 1)
        return
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.Constant) and isinstance(node.value, str):
            yield from enumerate(node.value.splitlines(), node.lineno)


def files() -> list[Path]:
    patterns = ("launcher/**/*.py", "README.md", "docs/*.md", "configs/**/*.yaml", "ARCHITECTURE.md", "CONTRIBUTING.md")
    return sorted(file for pattern in patterns for file in ROOT.glob(pattern))


def findings_in(name: str, texts: Iterator[tuple[int, str]]) -> list[str]:
    return [
        f"{name}:{line}: {match[0]!r}, write: {better}"
        for line, text in texts
        for word, better in WORDS.items()
        for match in re.finditer(rf"(?<![\w-])({word})(?![\w-])", text, re.IGNORECASE)
    ]


def test_texts_for_users_use_the_terms_of_the_field():
    found = [finding for file in files() for finding in findings_in(str(file.relative_to(ROOT)), texts_of(file))]

    assert not found, "\n".join(["", *found])


@pytest.mark.parametrize(
    "text",
    [
        "the run goes on from the newest whole checkpoint",
        "loss_cls became no number",
        "no share from 0 to 1; but it is a time: 0 (for ever) or more",
        "damaged images are told and do not stop the run",
    ],
)
def test_a_text_in_other_words_is_found(text: str):
    assert findings_in("x.py", iter([(3, text)]))[0].startswith("x.py:3: ")


def test_strings_of_code_are_read_and_its_names_and_comments_are_not(tmp_path: Path):
    file = tmp_path / "code.py"
    file.write_text('"""A verb."""\nverb = f"{1} slices"  # picture\n')

    assert findings_in("code.py", texts_of(file)) == [
        "code.py:1: 'verb', write: command",
        "code.py:2: 'slices', write: MIG instance",
    ]
