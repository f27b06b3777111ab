"""Slurm's short notation for many hosts, `n[1-3,08],login`, written out. Reads nothing."""

from __future__ import annotations

import re
from collections.abc import Iterator

_PART = re.compile(r"\[([^\]]*)\]|([^\[]+)")
_ENTRY = re.compile(r"(?:[^,\[]|\[[^\]]*\])+")


def expand_hosts(listed: str) -> list[str]:
    """Every host, in the order of the list, as `scontrol show hostnames` has them."""
    return [host for entry in _ENTRY.findall(listed) for host in _expand(entry)]


def _expand(entry: str) -> Iterator[str]:
    hosts = [""]
    for numbers, text in _PART.findall(entry):
        endings = list(_numbers(numbers)) if numbers else [text]
        hosts = [host + ending for host in hosts for ending in endings]
    yield from filter(None, hosts)


def _numbers(listed: str) -> Iterator[str]:
    """Of `1-3,08`; zeros in front of the first number of a range are kept."""
    for part in listed.split(","):
        first, dash, last = part.partition("-")
        if dash and first.isdecimal() and last.isdecimal():
            yield from (str(number).zfill(len(first)) for number in range(int(first), int(last) + 1))
        else:
            yield part
