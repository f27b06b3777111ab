from __future__ import annotations

from pathlib import Path

from launcher.launch.oom import count_memory_kills


def written(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)


def test_the_kills_of_machine_and_control_group_are_counted(tmp_path: Path):
    written(tmp_path / "proc/vmstat", "pgfault 7\noom_kill 2\n")
    written(tmp_path / "proc/self/cgroup", "4:memory:/job\n0::/user.slice/x\n")
    written(tmp_path / "sys/fs/cgroup/user.slice/x/memory.events", "low 0\noom 3\noom_kill 1\noom_group_kill 9\n")
    written(tmp_path / "sys/fs/cgroup/memory/job/memory.oom_control", "under_oom 0\noom_kill 4\n")

    assert count_memory_kills(tmp_path) == 7


def test_where_the_kernel_says_nothing_there_are_none(tmp_path: Path):
    assert count_memory_kills(tmp_path) == 0
