"""What an entry of CUDA_VISIBLE_DEVICES does, explained. The driver applies the list; this only says why it fails."""

from __future__ import annotations

from collections.abc import Sequence


def problem_with_list(listed: str, uuids: Sequence[str], *, with_instances: bool = True) -> str:
    """Why this value of CUDA_VISIBLE_DEVICES shows fewer GPUs than it names, or empty.

    The driver reads the list up to the first entry that it cannot use and says nothing about the rest; a GPU that
    is named twice hides all. `uuids` are the machine's GPUs in their order; `with_instances` when one of them is in MIG
    mode.
    """
    chosen: list[str] = []
    for entry in (part.strip() for part in listed.split(",")):
        matches = _matches(entry, uuids, with_instances)
        if len(matches) != 1:
            return _bad_entry(entry, matches, uuids) + (f"; only the {len(chosen)} before it count" if chosen else "")
        if matches[0] in chosen:
            return f"`{entry}` names a GPU for the second time, which hides all of them"
        chosen.append(matches[0])
    return ""


def hides_everything(listed: str) -> bool:
    """Whether the value says, in one of the usual ways, that no GPU is to be used."""
    return listed.strip() in ("", "-1", "none", "None", "NoDevFiles", "void")


def _matches(entry: str, uuids: Sequence[str], with_instances: bool) -> list[str]:
    if entry.isascii() and entry.isdigit():
        return list(uuids[int(entry) : int(entry) + 1])
    if entry.startswith("MIG-"):
        # MIG instances are not in the list of whole GPUs; whether this one exists only the driver knows.
        return [entry] if with_instances else []
    return [uuid for uuid in uuids if entry.startswith("GPU-") and uuid.startswith(entry)]


def _bad_entry(entry: str, matches: Sequence[str], uuids: Sequence[str]) -> str:
    if matches:
        return f"`{entry}` fits {len(matches)} GPUs"
    if entry.isascii() and entry.isdigit():
        return f"`{entry}` is not the index of a GPU here (there are {len(uuids)}, counted from 0)"
    if entry.startswith("MIG-"):
        return f"`{entry}` is a MIG instance, and no GPU here is in MIG mode"
    if entry.startswith("GPU-"):
        return f"`{entry}` is not the UUID of a GPU here"
    return f"`{entry or ' '}` is neither an index nor a UUID"
