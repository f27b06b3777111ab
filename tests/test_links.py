"""Every relative link of the pages leads to a file that is there, and to a heading that it has."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator

import pytest

from tests.documents import FENCE, PAGES, REPOSITORY

LINKING = (*PAGES, "ARCHITECTURE.md", "CHANGELOG.md", "CONTRIBUTING.md")
LINK = re.compile(r"\]\((?P<target>[^)\s]+)\)")
ELSEWHERE = re.compile(r"[a-z]+:")
HEADING = re.compile(r"^#{1,6} +(?P<text>.+)$", re.MULTILINE)


@pytest.mark.parametrize("page", LINKING)
def test_every_link_of_a_page_leads_somewhere(page: str):
    broken = [problem for target in relative_links(page) if (problem := problem_with_link(page, target))]

    assert not broken, f"{page}: " + "; ".join(broken)


def relative_links(page: str) -> Iterator[str]:
    found = (link["target"] for link in LINK.finditer(prose(page)))
    return (target for target in found if not ELSEWHERE.match(target))


def problem_with_link(page: str, target: str) -> str:
    """Empty for a link that leads somewhere."""
    name, _, anchor = target.partition("#")
    here = REPOSITORY / page
    there = (here.parent / name).resolve() if name else here
    if not there.is_relative_to(REPOSITORY.resolve()) or not there.exists():
        return f"{target}: no such file"
    if anchor and anchor not in anchors(there.read_text()):
        return f"{target}: no such heading"
    return ""


def prose(page: str) -> str:
    return without_blocks((REPOSITORY / page).read_text())


def without_blocks(text: str) -> str:
    return FENCE.sub("", text)


def anchors(text: str) -> set[str]:
    """As GitHub makes them of headings: a repeated one gets a number."""
    seen: Counter[str] = Counter()
    made = set()
    for heading in HEADING.finditer(without_blocks(text)):
        anchor = anchor_of(heading["text"])
        made.add(f"{anchor}-{seen[anchor]}" if seen[anchor] else anchor)
        seen[anchor] += 1
    return made


def anchor_of(heading: str) -> str:
    shown = re.sub(r"\[(.*?)\]\(.*?\)", r"\1", heading)
    return re.sub(r"[^\w\- ]", "", shown.strip().lower()).replace(" ", "-")


@pytest.mark.parametrize(
    ("heading", "anchor"),
    [
        ("Several nodes", "several-nodes"),
        ("What is converted, and what is lost", "what-is-converted-and-what-is-lost"),
        ("`gpu.none`: no GPU", "gpunone-no-gpu"),
        ("A [link](page.md) in it", "a-link-in-it"),
    ],
)
def test_an_anchor_is_made_as_github_does(heading: str, anchor: str):
    assert anchor_of(heading) == anchor


def test_a_comment_in_a_block_is_no_heading_and_a_repeated_heading_is_numbered():
    text = "# Page\n\n```\n# a comment\n```\n\n## Part\n\n## Part\n"

    assert anchors(text) == {"page", "part", "part-1"}


@pytest.mark.parametrize(
    ("target", "problem"),
    [
        ("configuration.md#groups", ""),
        ("configuration.md#group", "no such heading"),
        ("nowhere.md", "no such file"),
        ("../../outside.md", "no such file"),
    ],
)
def test_a_link_that_leads_nowhere_is_named(target: str, problem: str):
    assert problem_with_link("docs/data.md", target).endswith(problem)
    assert bool(problem_with_link("docs/data.md", target)) == bool(problem)
