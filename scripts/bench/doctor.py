"""How long `launcher doctor` takes beside importing torch alone, and the facts that need no torch.

    python scripts/bench/doctor.py

Whole processes in turn, so that all see the same machine. Other work on it disturbs: its load is printed.
"""

from __future__ import annotations

import argparse
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Sequence

FACTS = "import os, launcher.device.look.probe as probe; probe.look_at_devices(os.environ, full=False, try_gpus=False)"
DOCTOR_FINDS_FAULT = 4
COMMANDS = {
    "import torch": ("-c", "import torch"),
    "launcher doctor": ("-m", "launcher", "doctor"),
    "facts without torch": ("-c", FACTS),
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--rounds", type=int, default=10)
    rounds = measure(parser.parse_args().rounds)
    for name in COMMANDS:
        print(f"{name:20} {quartiles([seconds[name] for seconds in rounds])}")
    more = [seconds["launcher doctor"] - seconds["import torch"] for seconds in rounds]
    print(f"{'doctor, beyond torch':20} {quartiles(more)}")
    print(f"{len(rounds)} rounds on {os.cpu_count()} CPUs, load {os.getloadavg()[0]:.1f} at the end")


def measure(num_rounds: int) -> list[dict[str, float]]:
    """The seconds of each command, round by round."""
    for command in COMMANDS.values():
        seconds_of(command)  # once unmeasured: bytecode, disk cache
    names = list(COMMANDS)
    # Turned about, so that none always runs in the other's wake.
    orders = [names if number % 2 else names[::-1] for number in range(num_rounds)]
    return [{name: seconds_of(COMMANDS[name]) for name in order} for order in orders]


def seconds_of(arguments: Sequence[str]) -> float:
    start_s = time.perf_counter()
    done = subprocess.run([sys.executable, *arguments], check=False, stdout=subprocess.DEVNULL)
    taken_s = time.perf_counter() - start_s
    if done.returncode not in (0, DOCTOR_FINDS_FAULT):
        raise SystemExit(f"{' '.join(arguments)} ended with exit code {done.returncode}")
    return taken_s


def quartiles(values: Sequence[float]) -> str:
    low, middle, high = statistics.quantiles(values, n=4)
    return f"median {middle:.2f} s (quartiles {low:.2f} to {high:.2f})"


if __name__ == "__main__":
    main()
