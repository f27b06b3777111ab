"""Sweeps of an application that knows nothing of detectron2: what one job does reaches no other."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from launcher.run.holder import is_alive
from tests.pool.conftest import App

ON_CPU = ("hydra.launcher.devices=cpu", "hydra.launcher.max_parallel=2")
NOTE = "(HERE / f'{cfg.x}.note').write_text(str(os.getpid()))"


def wait_for(condition: Callable[[], bool]) -> None:
    until = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < until, "it did not come"
        time.sleep(0.02)


def numbers_in(folder: Path, pattern: str = "*.note") -> list[int]:
    return [int(text) for file in sorted(folder.glob(pattern)) if (text := file.read_text())]


def test_two_jobs_run_at_once_on_two_slots(app: Callable[..., App]):
    body = f"{NOTE}\nuntil = time.time() + 60\nwhile len(list(HERE.glob('*.note'))) < 2 and time.time() < until: pass\n"
    both = app(body + "return len(list(HERE.glob('*.note')))")

    done = both.sweep(*ON_CPU, "+x=1,2")

    assert done.returncode == 0, done.stderr
    assert "job 1/2 returned 2 after" in done.stderr
    assert "job 2/2 returned 2 after" in done.stderr


@pytest.mark.parametrize("end", ["os.kill(os.getpid(), 11)", "os.kill(os.getpid(), 9)", "os._exit(3)", "1 / 0"])
def test_a_job_that_crashes_ends_alone(app: Callable[..., App], end: str):
    crashing = app(f"if cfg.x == 1: {end}\n{NOTE}")

    done = crashing.sweep(*ON_CPU, "+x=0,1,2,3")

    assert done.returncode == 1
    assert [file.name for file in sorted(crashing.folder.glob("*.note"))] == ["0.note", "2.note", "3.note"]
    why = {"11": "SIGSEGV", ", 9": "SIGKILL", "3)": "ended with status 3", "/ 0": "ZeroDivisionError"}
    assert next(text for part, text in why.items() if part in end) in done.stderr
    assert f"sweep{os.sep}job-1.log" in done.stderr


def test_a_job_leaves_nothing_behind_for_the_next_one(app: Callable[..., App]):
    look = "seen = [SHARED[:], 'LEFT' in os.environ, os.getcwd() == str(HERE), signal.getsignal(10) is not print]"
    leave = "SHARED.append(1); os.environ['LEFT'] = '1'; os.chdir('/'); signal.signal(signal.SIGUSR1, print)"
    leaking = app(f"{look}\n{leave}\nreturn json.dumps(seen)", prolog="SHARED = []")

    done = leaking.sweep("hydra.launcher.devices=cpu", "hydra.launcher.max_parallel=1", "+x=1,2,3")

    assert done.stderr.count("returned [[], false, true, true]") == 3, done.stderr


def test_what_a_crashed_job_has_started_ends_with_it(app: Callable[..., App]):
    parent = app(
        "child = subprocess.Popen(['sleep', '300'])\n"
        "(HERE / 'child.note').write_text(str(child.pid))\nos.kill(os.getpid(), 11)"
    )

    parent.sweep(*ON_CPU, "+x=1")

    (child,) = numbers_in(parent.folder)
    wait_for(lambda: not is_alive(child))


def test_what_a_job_prints_is_in_its_log_and_nowhere_else(app: Callable[..., App]):
    printing = app("print('hello', cfg.x)\nos.system('echo from a shell')\nprint('bad', file=sys.stderr)")

    done = printing.sweep(*ON_CPU, "+x=7")

    assert printing.log(0).splitlines() == ["hello 7", "from a shell", "bad"]
    assert "hello" not in done.stdout + done.stderr


def test_a_return_that_has_no_copy_is_a_failure_that_says_what_to_return(app: Callable[..., App]):
    strange = app("return open(os.devnull)")

    done = strange.sweep(*ON_CPU, "+x=1")

    assert done.returncode == 1
    assert "the job returned a TextIOWrapper, which cannot be sent" in done.stderr
    assert "Return numbers, text, or the path of a file" in done.stderr


def test_an_exception_that_has_no_copy_is_told_in_words(app: Callable[..., App]):
    prolog = "class Own(Exception):\n    def __init__(self, a, b): super().__init__(f'{a} and {b}')"
    raising = app("raise Own('this', 'that')", prolog=prolog)

    done = raising.sweep(*ON_CPU, "+x=1")

    assert "Own: this and that" in done.stderr
    assert "raise Own('this', 'that')" in raising.log(0)


def test_an_exit_code_of_a_job_becomes_that_of_the_sweep_once_the_others_have_run(app: Callable[..., App]):
    leaving = app(f"if cfg.x == 0: sys.exit(75)\n{NOTE}")

    done = leaving.sweep(*ON_CPU, "+x=0,1,2")

    assert done.returncode == 75, done.stderr
    assert len(numbers_in(leaving.folder)) == 2


def test_jobs_end_as_python_does(app: Callable[..., App]):
    body = """
import atexit, threading
atexit.register((HERE / 'exit').write_text, 'job')
threading.Thread(target=lambda: (time.sleep(0.3), (HERE / 'thread').write_text('done'))).start()
"""
    prolog = "import atexit\natexit.register(lambda: open(HERE / 'controller', 'a').write('x'))"
    ending = app(body, prolog=prolog)

    ending.sweep(*ON_CPU, "+x=1")

    assert (ending.folder / "exit").read_text() == "job"
    assert (ending.folder / "thread").read_text() == "done"
    assert (ending.folder / "controller").read_text() == "x", "the controller's own exit, once"


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_reaches_every_job_and_then_ends_the_sweep(app: Callable[..., App], number: signal.Signals):
    body = f"""
def stop(*_):
    time.sleep(0.5)
    (HERE / f'{{cfg.x}}.stopped').write_text('1')
    os._exit(0)
for each in (signal.SIGTERM, signal.SIGINT): signal.signal(each, stop)
{NOTE}
time.sleep(100)
"""
    stopped = app(body)
    controller = stopped.start(*ON_CPU, "+x=1,2,3")
    wait_for(lambda: len(numbers_in(stopped.folder)) == 2)

    controller.send_signal(number)
    status = controller.wait(60)

    assert [file.name for file in sorted(stopped.folder.glob("*.stopped"))] == ["1.stopped", "2.stopped"]
    assert status == -number
    assert len(numbers_in(stopped.folder)) == 2, "the third was not started"


@pytest.mark.parametrize("handler", ["", "signal.signal(signal.SIGTERM, lambda *_: sys.exit(75))"])
def test_a_signal_that_comes_while_the_server_still_imports_is_not_lost(app: Callable[..., App], handler: str):
    early = app(f"{NOTE}\ntime.sleep(20)", prolog=handler)
    (early.folder / "slow.py").write_text("import time, pathlib; pathlib.Path('imports').touch(); time.sleep(2)")
    controller = early.start(*ON_CPU, "hydra.launcher.preload=[slow]", "+x=1,2")
    wait_for((early.folder / "imports").exists)
    time.sleep(0.5)

    controller.send_signal(signal.SIGTERM)
    status = controller.wait(60)

    assert status == (75 if handler else -signal.SIGTERM)
    assert not numbers_in(early.folder)


def test_jobs_of_a_killed_controller_come_to_their_own_end(app: Callable[..., App]):
    lasting = app(f"{NOTE}\ntime.sleep(1.5)\nprint('through')\n(HERE / f'{{cfg.x}}.end').write_text('1')")
    controller = lasting.start(*ON_CPU, "+x=1,2,3")
    wait_for(lambda: len(numbers_in(lasting.folder)) == 2)

    controller.kill()
    controller.wait()

    wait_for(lambda: len(list(lasting.folder.glob("*.end"))) == 2)
    assert [lasting.log(job) for job in (0, 1)] == ["through\n", "through\n"]
    pids = numbers_in(lasting.folder)
    wait_for(lambda: not any(is_alive(pid) for pid in pids))


def test_a_killed_server_costs_no_job(app: Callable[..., App]):
    body = """
(HERE / f'{cfg.x}.server').write_text(str(os.getppid()))
time.sleep(1)
return cfg.x
"""
    robbed = app(body)
    controller = robbed.start(*ON_CPU, "+x=1,2,3")
    wait_for(lambda: len(numbers_in(robbed.folder, "*.server")) == 2)

    os.kill(numbers_in(robbed.folder, "*.server")[0], signal.SIGKILL)
    printed = controller.communicate(timeout=60)[0]

    assert [f"job {n}/3 returned {n}" in printed for n in (1, 2, 3)] == [True] * 3, printed
    assert controller.returncode == 0
    servers = numbers_in(robbed.folder, "*.server")
    assert servers[0] == servers[1] != servers[2]


def test_modules_are_imported_once_for_all_jobs(app: Callable[..., App]):
    preloading = app("import heavy\nreturn f'{heavy.PID} {os.getppid()}'")
    (preloading.folder / "heavy.py").write_text("import os\nPID = os.getpid()\n")

    done = preloading.sweep(*ON_CPU, "hydra.launcher.preload=[heavy,not_there]", "+x=1,2,3")

    said = [line.split("returned ")[1].split(" after")[0] for line in done.stderr.splitlines() if "returned" in line]
    assert len(set(said)) == 1, done.stderr
    imported_in, server = said[0].split()
    assert imported_in == server


@pytest.mark.parametrize(
    ("settings", "environment", "threads"),
    [
        (("hydra.launcher.max_parallel=1",), {}, os.cpu_count()),
        ((f"hydra.launcher.max_parallel={os.cpu_count()}",), {}, 1),
        ((), {"OMP_NUM_THREADS": "3"}, 3),
    ],
)
def test_jobs_on_the_cpu_share_its_threads(
    app: Callable[..., App], settings: tuple[str, ...], environment: dict[str, str], threads: int
):
    counting = app("return os.environ['OMP_NUM_THREADS'] + '/' + os.environ['CUDA_VISIBLE_DEVICES']")

    done = counting.sweep("hydra.launcher.devices=cpu", *settings, "+x=1", **environment)

    assert f"returned {threads}/ after" in done.stderr, done.stderr


@pytest.mark.parametrize(
    ("settings", "says"),
    [
        (("hydra.launcher.devices=[7]",), "but no GPU can be used here (no NVIDIA GPU in this machine)"),
        (("hydra.launcher.gpus_per_job=2",), "gpus_per_job=2 is asked for, but 0 GPUs can be used"),
        (("hydra.launcher.devices=gpu",), "'gpu' is neither an index nor a UUID"),
        (("hydra.launcher.devices=cpu", "hydra.launcher.max_parallel=-1"), "max_parallel=-1 must be a whole number"),
    ],
)
def test_devices_that_nobody_has_refuse_the_sweep(app: Callable[..., App], settings: tuple[str, ...], says: str):
    refused = app(NOTE)

    done = refused.sweep(*settings, "+x=1,2", CUDA_VISIBLE_DEVICES="")

    assert done.returncode != 0
    assert says in done.stderr
    assert not numbers_in(refused.folder)


NO_FORKS = """
import types
import launcher.forking, launcher.pool.warm
darwin = types.SimpleNamespace(platform="darwin", stdout=sys.stdout, stderr=sys.stderr)
launcher.forking.sys = launcher.pool.warm.sys = darwin
def task(cfg):
    Path("child.note").write_text(str(subprocess.Popen(["sleep", "300"]).pid)) if cfg.x == 1 else None
    if cfg.x == 1: os.kill(os.getpid(), 11)
    if cfg.x == 3: sys.exit(75)
    return f"{cfg.x} in {os.getpid()}"
"""


def test_where_nothing_can_be_forked_each_job_is_a_process_that_was_started(app: Callable[..., App]):
    pytest.importorskip("cloudpickle", reason="cloudpickle, which hands on functions of a script, is not installed")
    started = app("return task(cfg)", prolog=NO_FORKS)

    done = started.sweep(*ON_CPU, "+x=0,1,2,3")

    assert done.returncode == 1, done.stderr
    said = [line.split(" in ")[1].split()[0] for line in done.stderr.splitlines() if "returned" in line]
    assert len(set(said)) == 2, done.stderr
    assert "+x=1 was killed by SIGSEGV" in done.stderr
    assert "job 4/4 ended with exit code 75" in done.stderr
    wait_for(lambda: not is_alive(numbers_in(started.folder)[0]))


LEDGER = """
from launcher.pool.ledger import Go, Known, Run, Stop
class Ledger:
    def admit(self, jobs, first):
        if any("+x=bad" in job for job in jobs): raise ValueError("refused: bad")
        log = HERE / "own.log"
        return [Known(value=50) if "+x=5" in job else Run(log=log, environment={"OWN": job[-1][-1]}) for job in jobs]
    def started(self, job, place): pass
    def tick(self): pass
    def ended(self, ended):
        print("ended", ended.job.number, ended.exit_code)
        return Stop(reason="one failed") if ended.failure else Go()
class Task:
    ledger = Ledger()
    def __call__(self, cfg):
        (HERE / f'{cfg.x}.note').write_text(str(os.getppid()))
        if cfg.x == 2: raise ValueError("two")
        print("own", os.environ["OWN"])
"""


@pytest.fixture
def ledgered(app: Callable[..., App]) -> App:
    made = app("pass", prolog=LEDGER)
    text = made.script.read_text().replace(
        "    main()", "    hydra.main(version_base='1.3', config_path=None)(Task())()"
    )
    made.script.write_text(text)
    return made


def test_what_a_ledger_knows_is_not_run_and_its_environments_have_servers_of_their_own(ledgered: App):
    done = ledgered.sweep(*ON_CPU, "+x=4,5,6")

    assert done.returncode == 0, done.stderr
    assert sorted(done.stdout.split("ended")[1:]) == [" 0 0\n", " 1 0\n", " 2 0\n"]
    assert [file.name for file in sorted(ledgered.folder.glob("*.note"))] == ["4.note", "6.note"]
    assert len(set(numbers_in(ledgered.folder))) == 2
    assert sorted((ledgered.folder / "own.log").read_text().splitlines()) == ["own 4", "own 6"]


def test_a_ledger_refuses_a_sweep_before_anything_starts(ledgered: App):
    done = ledgered.sweep(*ON_CPU, "+x=4,bad")

    assert "refused: bad" in done.stderr
    assert not numbers_in(ledgered.folder)


def test_a_ledger_stops_a_sweep(ledgered: App):
    done = ledgered.sweep("hydra.launcher.devices=cpu", "hydra.launcher.max_parallel=1", "+x=2,4,6")

    assert done.returncode == 1
    assert [file.name for file in ledgered.folder.glob("*.note")] == ["2.note"]
