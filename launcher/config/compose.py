"""From a command line to a RunRequest, through Hydra's own machinery."""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import fields, replace
from pathlib import Path
from typing import Any, NoReturn, Protocol

import hydra
from hydra import compose, initialize_config_dir
from hydra._internal.utils import get_args_parser
from hydra.core.global_hydra import GlobalHydra
from hydra.core.hydra_config import HydraConfig
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.errors import HydraException
from hydra.types import RunMode
from omegaconf import DictConfig, OmegaConf, open_dict
from omegaconf.errors import OmegaConfBaseException
from yaml import YAMLError

from launcher.config.adjustment import Adjustment
from launcher.config.arguments import (
    Arguments,
    completion_line,
    first_of_sweep,
    for_hydra,
    is_hydras,
    override_for_hydra,
    take_apart,
    with_config_dir,
    with_text_as_typed,
)
from launcher.config.asked import names_in
from launcher.config.checks import problems_with_request
from launcher.config.extensions import extensions_asked_in, extensions_asked_in_files, installed_extensions
from launcher.config.key_bounds import problems_with_bounds
from launcher.config.keys import Keys, flat
from launcher.config.known_keys import Detectron2Keys, read_keys
from launcher.config.layouts import find_files
from launcher.config.mistakes import (
    HABITS,
    Settable,
    command_line,
    corrected_arguments,
    describe,
    describe_failure,
    mistakes_in,
    mistakes_in_files,
    nearest_names,
    without_package,
)
from launcher.config.names import problems_with_names
from launcher.config.places import expand_keys, expand_own, expanded, problem_with_path, shortened
from launcher.config.presets import MODEL_GROUP, config_folders, configs_folder, option_name
from launcher.config.request import (
    DEFAULT_OUTPUT_DIR,
    DeviceChoice,
    DeviceRequest,
    OwnCode,
    PoolSettings,
    RunRequest,
    Typed,
)
from launcher.config.schema import (
    OWN_NODES,
    OWN_ROOT_SETTINGS,
    make_schema,
    name_lists,
    number_lists,
    own_value,
    text_settings,
)
from launcher.config.source import primary, serve
from launcher.config.task import TRAIN, TaskRequest
from launcher.config.train_net import habits_in
from launcher.config.unused import wrong_kind_of_data
from launcher.config.yaml_files import YamlFiles, is_set
from launcher.errors import LauncherError, RequestError

Task = Callable[[RunRequest], "float | None"]
Examined = tuple["RunRequest | None", list[str]]
"""What a composed configuration asks for, and every problem with it."""


class Books(Protocol):
    """Whoever knows which jobs a sweep has, and which of them have come to their end."""

    failures: list[tuple[str, Exception]]
    """Of jobs that ran in processes of their own, each with its name."""

    def examine_with(self, examine: Callable[[Sequence[str]], Examined]) -> None: ...


WARM = "launcher.cli.warm"
"""A module that the jobs of a sweep share: importing it here would be importing torch."""
TEXT_LISTS = {
    "imports": "package.module",
    "run.allow_changes": "SOLVER.IMS_PER_BATCH",
    "cluster.options": "--exclude=n3",
    "cluster.preamble": "module load cuda",
    "cluster.container.mounts": "/data",
}
"""Our own lists of text, each with an element; OmegaConf lets lists and mappings through."""
NOTHING = Arguments(overrides=(), flags=())


def run_hydra(
    arguments: Sequence[str],
    task: Task,
    *,
    command: str = "launcher train",
    only_looks: bool = False,
    frozen: Mapping[str, Any] | None = None,
    asks: TaskRequest = TRAIN,
    books: Books | None = None,
) -> None:
    """Compose what the arguments after the command ask for and call `task` with it, once or for each job of a sweep.

    A job of a sweep that fails does not keep the others from running; the first failure is raised at the end. `command`
    is what corrected command lines begin with. With `only_looks`, and for options that only show something, files
    neither run code through Hydra's settings nor set environment variables. What is `frozen` of a run, see
    `launcher.config.frozen`, is what the arguments change then.
    A command that does something else with the model than to train it `asks` for that. Where somebody keeps the `books`
    of a sweep, our sweeper and our launcher make its jobs, unless the command line or a file names others.

    Raises:
        RequestError: the arguments, or the files that they name, cannot be composed, or they cannot be meant; then
            every problem is named.
        SystemExit: Hydra is done after an option such as `--help`.
    """
    asked = replace(with_config_dir(take_apart(arguments), expanded), task=asks)
    if habits := habits_in(arguments):
        raise RequestError("\n".join(habits))
    _refuse_unknown_flags(asked.flags)
    _refuse_missing_folder(asked)
    extensions = _extensions_of(asked)
    keys = read_keys(extensions, announce=_announce)
    serve(keys, frozen)
    # What Hydra would simply add or delete; everything else it refuses by itself.
    if any(text.startswith(("+", "~")) for text in asked.overrides):
        _refuse_mistakes(asked, keys, command)
    given = with_text_as_typed(asked, text_settings(keys))
    if books is not None and asked.is_multirun:
        given = replace(given, overrides=(*given.overrides, *plugins_for(asked)))
    YamlFiles.only_looks = only_looks or asked.only_shows
    environment = dict(os.environ) if only_looks else None
    jobs = _Jobs(
        task=task,
        extensions=extensions,
        keys=keys,
        asked=asked,
        command=command,
        environment=environment,
    )
    jobs.keep(books)
    main = hydra.main(config_path=str(configs_folder()), config_name=primary(), **hydra_version_base())
    try:
        with _hydra_reads(for_hydra(given)):
            main(jobs)()
    except Exception as error:
        jobs.raise_first_failure()
        if (refusal := _refusal_of(error, asked, keys, command)) is not None:
            raise refusal from error
        raise
    jobs.raise_first_failure()


def _refusal_of(error: Exception, asked: Arguments, keys: Detectron2Keys, command: str) -> RequestError | None:
    """What is wrong with the request that Hydra raised this error of; None where it is something else.

    Raises:
        RequestError: the mistakes in the command line, with one that is corrected.
    """
    if isinstance(error, OSError) and not isinstance(error, HydraException) and asked.is_multirun:
        # The one thing that Hydra writes is the sweep's folder under run.root.
        return RequestError(f"{error}. Sweeps are kept under run.root; choose another with run.root=DIR")
    if isinstance(error, RecursionError):
        return RequestError(
            "A configuration file includes itself, directly or through others. Look at its `defaults:`."
        )
    if not _is_about_the_request(error):
        return None
    _refuse_mistakes(asked, keys, command)
    in_files = "\n".join(mistakes_in_files(YamlFiles.files, _settable(asked, keys)))
    return RequestError(in_files or describe_failure(error, _settable(asked, keys)))


def to_request(
    cfg: DictConfig, hydra_cfg: Any, extensions: Sequence[str], keys: Detectron2Keys, asked: Arguments = NOTHING
) -> RunRequest:
    """The composed configuration as a value; `asked` is the command line with its sweeps not yet taken apart.

    Raises:
        RequestError: a file sets what does not exist, or a value refers to something that does not exist.
    """
    _refuse_unknown(cfg, extensions, keys)
    try:
        plain: Any = OmegaConf.to_container(cfg, resolve=True, throw_on_missing=True)
        own: dict[str, Any] = {name: expand_own(own_value(name, cfg[name]), name) for name in OWN_NODES}
    except OmegaConfBaseException as error:
        raise RequestError(_first_line(error)) from error
    detectron2 = expand_keys(Keys({key: plain[key] for key in keys.defaults}))
    _refuse_non_numbers(detectron2, keys)
    _refuse_non_names(detectron2, keys, plain)
    overrides = _overrides_of(hydra_cfg)
    if is_set("MODEL.DEVICE", overrides):
        own["device"] = _insisting(own["device"], detectron2)
    if asked.task != TRAIN and not is_set("MODEL.WEIGHTS", overrides):
        detectron2 = _with_zoo_weights(detectron2, hydra_cfg, keys)
    in_sweep = hydra_cfg.mode is RunMode.MULTIRUN
    own["dataset"], found = find_files(own["dataset"], os.environ)
    return RunRequest(
        typed=Typed(
            experiment=_experiment_of(hydra_cfg),
            overrides=overrides,
            in_sweep=in_sweep,
            swept=_swept(overrides, asked.overrides) if in_sweep else (),
            task=asked.task,
            folder=_folder_in_sweep(hydra_cfg) if in_sweep else "",
        ),
        resume=expand_own(plain["resume"], "resume"),
        scaling=plain["scaling"],
        own_code=OwnCode(
            config_extensions=tuple(extensions), imports=tuple(plain["imports"]), trainer=plain["trainer"]
        ),
        keys=_as_set(detectron2, overrides),
        found=found,
        **own,
    )


def _with_zoo_weights(keys: Keys, hydra_cfg: Any, known: Detectron2Keys) -> Keys:
    """With detectron2's own trained weights of a model of the zoo: its file names those that a training starts from."""
    chosen = hydra_cfg.runtime.choices.get(MODEL_GROUP)
    names = {option_name(name): name for name in known.zoo}
    if chosen not in names:
        return keys
    name = names[chosen]
    if name not in known.weights:
        raise RequestError(
            f"model={name}: detectron2 offers no trained weights of it. Name some: MODEL.WEIGHTS=PATH, "
            "or choose another model."
        )
    asked = keys["MODEL.WEIGHTS"]
    reason = "detectron2's own of that model"
    return keys.with_([Adjustment(setting="MODEL.WEIGHTS", asked=asked, planned=known.weights[name], reason=reason)])


def _as_set(keys: Keys, overrides: tuple[str, ...]) -> Keys:
    """The keys with an OUTPUT_DIR that was set told from detectron2's default by its spelling, of the same folder."""
    if "OUTPUT_DIR" not in keys or not is_set("OUTPUT_DIR", overrides):
        return keys
    asked = keys["OUTPUT_DIR"]
    if asked != DEFAULT_OUTPUT_DIR:
        return keys
    spelled = Adjustment(setting="OUTPUT_DIR", asked=asked, planned=str(Path(asked)), reason="")
    return keys.with_([spelled])


def _insisting(device: DeviceRequest, keys: Keys) -> DeviceRequest:
    """MODEL.DEVICE=cuda, though detectron2's default, means device=cuda where somebody has written it."""
    is_asked = device.choice is DeviceChoice.auto and keys.get("MODEL.DEVICE", "") == DeviceChoice.cuda.value
    return replace(device, choice=DeviceChoice.cuda) if is_asked else device


def _overrides_of(hydra_cfg: Any) -> tuple[str, ...]:
    # As typed: reading them one by one would put in the values that they refer to.
    typed: Any = OmegaConf.to_container(hydra_cfg.overrides.task, resolve=False)
    return tuple(typed)


def _folder_in_sweep(hydra_cfg: Any) -> str:
    """Where our sweeper, which names a folder for every job, has this one live; empty for other sweepers."""
    return "" if hydra_cfg.sweep.subdir == "." else str(Path(hydra_cfg.sweep.dir, hydra_cfg.sweep.subdir))


def _swept(overrides: Sequence[str], typed: Collection[str]) -> tuple[str, ...]:
    # By key, because Hydra spells the values of a sweep anew: 1e-3 becomes 0.001.
    given = OverridesParser.create().parse_overrides([override_for_hydra(text) for text in typed])
    keys = {override.get_key_element() for override in given if override.is_sweep_override()}
    return tuple(override for override in overrides if override.partition("=")[0] in keys)


def _experiment_of(hydra_cfg: Any) -> str:
    # Hydra's own list of choices leaves out a group of which several options were chosen.
    several = take_apart(_overrides_of(hydra_cfg)).chosen("experiment")
    return hydra_cfg.runtime.choices.get("experiment") or "+".join(several)


class _Jobs:
    """Hydra's task function: makes and checks the request, runs the task and keeps what failed."""

    def __init__(
        self,
        *,
        task: Task,
        extensions: Sequence[str],
        keys: Detectron2Keys,
        asked: Arguments,
        command: str,
        environment: Mapping[str, str] | None,
    ) -> None:
        """`environment` is that of the task where Hydra is not to change it."""
        self._environment = environment
        self._task = task
        self._extensions = extensions
        self._keys = keys
        self._asked = asked
        self._command = command
        self._failures: list[tuple[str, Exception]] = []
        self.ledger: Books | None = None
        """Which our launcher asks about every job."""
        self.pool_prefix = "pool."
        """Of its settings' names, as they are typed."""

    def keep(self, books: Books | None) -> None:
        """Have these books kept, where there are any."""
        self.ledger = books
        if books is not None:
            books.examine_with(self.examine)

    def __getstate__(self) -> dict[str, Any]:
        # A process that is started for a job keeps no books.
        return {**vars(self), "ledger": None}

    def __setstate__(self, state: dict[str, Any]) -> None:
        """In a process of submitit's, which composes a job of a sweep before it calls us."""
        self.__dict__.update(state)
        serve(self._keys)

    def __call__(self, cfg: DictConfig) -> float | None:
        hydra_cfg = HydraConfig.get()
        try:
            with _environment(self._environment):
                return self._task(self._checked(cfg, hydra_cfg))
        except Exception as error:
            self._failures.append((" ".join(_overrides_of(hydra_cfg)), error))
            if hydra_cfg.mode is RunMode.MULTIRUN:
                # Hydra continues with the other jobs; its sweepers have to know that this one has no result.
                raise
            # Raised when Hydra has returned; it would write a line of its own about it.
            return None

    def examine(self, overrides: Sequence[str]) -> Examined:
        """What the job with these overrides would do; while Hydra runs a sweep.

        Raises:
            HydraException: they cannot be composed.
        """
        hydras = [override_for_hydra(text) for text in self._asked.overrides if is_hydras(text)]
        whole = (
            GlobalHydra.instance()
            .config_loader()
            .load_configuration(
                config_name=primary(), overrides=[*hydras, "hydra.mode=MULTIRUN", *overrides], run_mode=RunMode.RUN
            )
        )
        with open_dict(whole):
            hydra_cfg = whole.pop("hydra")
        try:
            request = to_request(whole, hydra_cfg, self._extensions, self._keys, self._asked)
        except RequestError as error:
            return None, [str(error)]
        return request, self._problems_with(request)

    def _checked(self, cfg: DictConfig, hydra_cfg: Any) -> RunRequest:
        request = to_request(cfg, hydra_cfg, self._extensions, self._keys, self._asked)
        if problems := self._problems_with(request):
            raise RequestError("\n".join(problems))
        return request

    def _problems_with(self, request: RunRequest) -> list[str]:
        problems = problems_with(request, self._keys)
        corrected = self._with_files_of_ones_own(request) if problems else []
        return [*problems, *(["\n".join(corrected)] if corrected else [])]

    def _with_files_of_ones_own(self, request: RunRequest) -> list[str]:
        """The command line with the data set that was meant, if it is all that it takes."""
        if not any(wrong_kind_of_data(request)):
            return []
        kept = (text for text in self._asked.overrides if not re.match(r"\+*dataset(\.kind)?=", text))
        corrected = replace(self._asked, overrides=("dataset=coco_json", *kept))
        composed = request_of(corrected, self._extensions, self._keys)
        is_right = composed is not None and not problems_with(composed, self._keys)
        return command_line(self._command, corrected) if is_right else []

    def raise_first_failure(self) -> None:
        of_others = self.ledger.failures if self.ledger is not None else []
        reported = [error for _, error in of_others]  # of jobs in this process too, where the books follow them
        failures = [*(one for one in self._failures if not any(one[1] is error for error in reported)), *of_others]
        if not failures:
            return
        _, first = failures[0]
        if isinstance(first, LauncherError) and (len(failures) > 1 or of_others):
            reasons = [f"{name}: {error}" for name, error in failures]
            head = [f"{len(failures)} trainings of the sweep failed."] if len(failures) > 1 else []
            together = type(first)("\n".join([*head, *reasons]))
            together.exit_code = first.exit_code
            raise together from first
        raise first


def plugins_for(asked: Arguments) -> Iterator[str]:
    """Our sweeper and launcher, as far as nobody has named others, and their settings."""
    files = [file.read_text(errors="replace") for file in _files_chosen(asked) if file.is_file()]
    for group, ours in (("hydra/sweeper", "grid"), ("hydra/launcher", "pool")):
        named = [text.partition("=")[2] for text in asked.overrides if text.startswith(f"{group}=")]
        if not named and any(f"override /{group}:" in text for text in files):
            continue
        if not named:
            yield f"{group}={ours}"
        if (named or [ours])[-1] == "pool":
            yield from _pool_settings(asked)
    yield "hydra.sweep.dir=${run.root}"  # which is there anyway: each job is given a folder of its own


def _pool_settings(asked: Arguments) -> Iterator[str]:
    """The pool's, under Hydra's names, as they are under ours."""
    typed = {text.partition("=")[0] for text in asked.overrides}
    on_cpu = {"device=cpu", "device.choice=cpu"} & set(asked.overrides) and "pool.devices" not in typed
    for name in (setting.name for setting in fields(PoolSettings)):
        if f"hydra.launcher.{name}" not in typed:
            value = "cpu" if name == "devices" and on_cpu else f"${{pool.{name}}}"
            yield f"hydra.launcher.{name}={value}"
    if "hydra.launcher.preload" not in typed:
        yield f"hydra.launcher.preload=[{WARM}]"


def _extensions_of(asked: Arguments) -> list[str]:
    named = extensions_asked_in(asked.overrides) or extensions_asked_in_files(_files_chosen(asked))
    return list(dict.fromkeys([*installed_extensions(), *named]))


def _files_chosen(asked: Arguments) -> Iterator[Path]:
    for folder in config_folders(asked.config_dir):
        for group in ("model", "dataset", "experiment", "debug"):
            yield from (folder / group / f"{name}.yaml" for name in asked.chosen(group))


def _refuse_unknown(cfg: DictConfig, extensions: Sequence[str], keys: Detectron2Keys) -> None:
    known = {*keys.defaults, *OWN_NODES, *OWN_ROOT_SETTINGS}
    unknown = [str(key) for key in cfg if key not in known]
    for group in unknown:
        if isinstance(cfg[group], DictConfig) and (below := [str(key) for key in cfg[group] if key in known]):
            raise RequestError(without_package(group, below))
    if unknown and (found := mistakes_in_files(YamlFiles.files, Settable(schema=make_schema(keys), groups={}))):
        raise RequestError("\n".join(found))
    if unknown:
        near = [name for key in unknown for name in nearest_names(key, known)]
        clause = f" (nearest: {', '.join(near)})" if near else ""
        raise RequestError(
            f"A configuration file sets {', '.join(unknown)}, which neither the launcher nor detectron2 knows{clause}. "
            "Keys of another project enter through config_extensions=[module:function]."
        )
    late = [name for name in cfg.config_extensions if name not in extensions]
    if late:
        raise RequestError(
            f"config_extensions has {', '.join(late)} from a file that another file includes, which is too late to "
            f"know its keys. Name them on the command line: config_extensions=[{','.join(late)}]"
        )


def _refuse_non_numbers(keys: Keys, known: Detectron2Keys) -> None:
    """OmegaConf's lists have elements of one type, or of any; ours may be whole or not, and nested or not."""
    problems = [
        f"{name} takes numbers, not {wrong[0]!r}. For example: {name}={str(default).replace(' ', '')}"
        for name, default in number_lists(known.defaults)
        if (wrong := [value for value in flat(keys[name]) if type(value) not in (int, float)])
    ]
    if problems:
        raise RequestError("\n".join(problems))


def _refuse_non_names(keys: Keys, known: Detectron2Keys, plain: Mapping[str, Any]) -> None:
    settings = Keys(plain)
    own = [(name, [example], settings[name]) for name, example in TEXT_LISTS.items()]
    lists = [(name, default, keys[name]) for name, default in name_lists(known.defaults)]
    data = [(f"DATASETS.{part}", ["mine"], names_in(keys, part)) for part in ("TRAIN", "TEST")]
    problems = [
        f"{name} takes names, not {wrong[0]!r}. For example: {name}=[{','.join(example)}]"
        for name, example, value in (*own, *lists, *data)
        if (wrong := [one for one in value if not isinstance(one, str)])
    ]
    if problems:
        raise RequestError("\n".join(problems))


def _refuse_missing_folder(asked: Arguments) -> None:
    folder = asked.config_dir
    if folder is not None and (problem := problem_with_path(folder)):
        raise RequestError(f"--config-dir {shortened(folder)}: {problem}.")
    if folder is not None and not Path(folder).is_dir():
        raise RequestError(
            f"--config-dir names {asked.config_dir}, but there is no such folder in {Path.cwd()}. "
            "Name the folder that has experiment/, model/ or dataset/ in it: --config-dir DIR"
        )


def _refuse_unknown_flags(flags: Sequence[str]) -> None:
    if not flags:
        return
    parser = get_args_parser()

    def refuse(message: str) -> NoReturn:
        names = re.findall(r"--([\w.-]+)", message) if message.startswith("unrecognized arguments") else []
        settings = " ".join(f"{HABITS.get(name.replace('-', '_'), name)}=VALUE" for name in names)
        clause = f" Settings are written without dashes: {settings}." if settings else ""
        raise RequestError(f"{message[0].upper()}{message[1:]}.{clause} All options: launcher --help")

    parser.error = refuse  # type: ignore[method-assign]
    parser.parse_args(flags)


def _refuse_mistakes(asked: Arguments, keys: Detectron2Keys, command: str) -> None:
    mistakes = mistakes_in(asked, _settable(asked, keys))
    if not mistakes:
        return
    corrected = corrected_arguments(mistakes, asked)
    lines = _corrected_lines(corrected, keys, command) if corrected is not None else []
    raise RequestError("\n".join([describe(mistakes), *lines]))


def _corrected_lines(corrected: Arguments, keys: Detectron2Keys, command: str) -> list[str]:
    """The corrected command line, or what is wrong with it too: one that is refused itself helps nobody."""
    composed = request_of(corrected, _extensions_of(corrected), keys)
    if composed is None:
        return []
    return problems_with(composed, keys) or _shown(command_line(command, corrected))


def _shown(lines: list[str]) -> list[str]:
    """Nothing where the screen cannot show it: what it would show instead is another name."""
    try:
        "\n".join(lines).encode(getattr(sys.stderr, "encoding", None) or "utf-8")
    except UnicodeEncodeError:
        return []
    return lines


def _settable(asked: Arguments, keys: Detectron2Keys) -> Settable:
    groups: dict[str, list[str]] = {MODEL_GROUP: [option_name(name) for name in keys.zoo]}
    for folder in config_folders(asked.config_dir):
        for file in sorted(folder.glob("*/*.yaml")):
            groups.setdefault(file.parent.name, []).append(file.stem)
    return Settable(schema=make_schema(keys), groups=groups)


@contextmanager
def _another_hydra() -> Iterator[None]:
    """Hydra can be set up once at a time, and may be in the middle of composing what turned out to be wrong."""
    running = GlobalHydra.instance().hydra
    GlobalHydra.instance().clear()
    try:
        yield
    finally:
        GlobalHydra.instance().hydra = running


def request_of(asked: Arguments, extensions: Sequence[str], keys: Detectron2Keys) -> RunRequest | None:
    """What a command line composes to, of a sweep the first job; None where it does not compose."""
    folders = [f"file://{Path(asked.config_dir).absolute()}"] if asked.config_dir else []
    search_path = f"hydra.searchpath={folders}".replace("'", '"')
    try:
        given = with_text_as_typed(replace(first_of_sweep(asked), flags=()), text_settings(keys))
        overrides = [*for_hydra(given), search_path]
        with _another_hydra(), initialize_config_dir(config_dir=str(configs_folder()), **hydra_version_base()):
            cfg = compose(primary(), overrides=overrides, return_hydra_config=True)
        with open_dict(cfg):
            hydra_cfg = cfg.pop("hydra")
        return to_request(cfg, hydra_cfg, extensions, keys, asked)
    except Exception as error:
        if isinstance(error, LauncherError | OSError) or _is_about_the_request(error):
            return None
        raise


def problems_with(request: RunRequest, keys: Detectron2Keys) -> list[str]:
    """Everything that can be known of a request by itself and of the installed detectron2."""
    return [*problems_with_request(request), *problems_with_names(request, keys), *problems_with_bounds(request)]


def _is_about_the_request(error: Exception) -> bool:
    if isinstance(error, HydraException | OmegaConfBaseException | YAMLError):
        return True
    # Hydra also uses ValueError and KeyError for what a user typed.
    traceback = error.__traceback__
    while traceback is not None and traceback.tb_next is not None:
        traceback = traceback.tb_next
    raised_by = traceback.tb_frame.f_globals.get("__name__", "") if traceback is not None else ""
    return isinstance(error, ValueError | KeyError) and raised_by.split(".")[0] in ("hydra", "omegaconf")


def hydra_version_base() -> dict[str, str]:
    # Required by Hydra 1.3 against a warning, deprecated in 1.4.
    major, minor = (int(part) for part in re.findall(r"\d+", hydra.__version__)[:2])
    return {} if (major, minor) >= (1, 4) else {"version_base": "1.3"}


@contextmanager
def _hydra_reads(arguments: Sequence[str]) -> Iterator[None]:
    """hydra.main takes its arguments from sys.argv and, unless told otherwise, prints errors and exits."""
    argv, variables = sys.argv, {"HYDRA_FULL_ERROR": "1"}
    if "COMP_LINE" in os.environ:
        variables["COMP_LINE"] = completion_line(os.environ["COMP_LINE"])
    before = {name: os.environ.get(name) for name in variables}
    sys.argv = [argv[0], *arguments]
    os.environ.update(variables)
    try:
        yield
    finally:
        sys.argv = argv
        for name, value in before.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value


@contextmanager
def _environment(wanted: Mapping[str, str] | None) -> Iterator[None]:
    """This environment instead of the one into which Hydra has put hydra.job.env_set; None leaves it as it is."""
    before = dict(os.environ)
    if wanted is not None:
        os.environ.clear()
        os.environ.update(wanted)
    try:
        yield
    finally:
        if wanted is not None:
            os.environ.clear()
            os.environ.update(before)


def _announce(sentence: str) -> None:
    print(sentence, file=sys.stderr)


def _first_line(error: Exception) -> str:
    key = getattr(error, "full_key", None)
    text = str(error).splitlines()[0]
    return f"{key}: {text}" if key and key not in text else text
