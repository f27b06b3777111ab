"""A sweep for TensorBoard's HParams: event files with one row per job, and the same columns in every row.

Written as protos here, because what torch's `add_hparams` writes is not shown by TensorBoard 2.20 and later.
"""

from __future__ import annotations

import io
import time
from collections.abc import Iterable, Mapping, Sequence

from tensorboard.compat.proto.event_pb2 import Event
from tensorboard.compat.proto.summary_pb2 import DATA_CLASS_SCALAR, Summary, SummaryMetadata
from tensorboard.compat.proto.tensor_pb2 import TensorProto
from tensorboard.compat.proto.tensor_shape_pb2 import TensorShapeProto
from tensorboard.compat.proto.types_pb2 import DT_FLOAT
from tensorboard.plugins.hparams import api_pb2, metadata, plugin_data_pb2
from tensorboard.summary.writer.record_writer import RecordWriter

from launcher.files import replacing
from launcher.sweep.naming import SEED, key_of, settings_in
from launcher.sweep.standing import main_metric_of
from launcher.sweep.text import state_text
from launcher.sweep.values import JobState, Standing, Sweep

FOLDER = "tensorboard"
FILE = "events.out.tfevents.0.sweep"
STATE = "state"
"""A column beside the settings: how a job ended."""
STATUS = {
    JobState.finished: api_pb2.STATUS_SUCCESS,
    JobState.pruned: api_pb2.STATUS_SUCCESS,
    JobState.failed: api_pb2.STATUS_FAILURE,
    JobState.running: api_pb2.STATUS_RUNNING,
}
Setting = float | str


def write_hparams(sweep: Sweep, found: Sequence[Standing]) -> None:
    """One event file for the columns, and one per job.

    Raises:
        OSError: they cannot be written.
    """
    now = time.time()
    rows = of_one_type({one.job.folder: settings_of(sweep, one) for one in found})
    metrics = metric_names(sweep, found)
    _write(sweep, "", [_experiment(sweep, rows.values(), metrics)], now)
    for one in found:
        values = {name: value for name in metrics if (value := one.metrics.get(name)) is not None}
        if one.value is not None and one.metric in metrics:
            values[one.metric] = one.value
        scalars = [_scalar(name, value) for name, value in values.items()]
        _write(sweep, one.job.folder, [_start(one, rows[one.job.folder]), *scalars, *_end(one)], now)


def settings_of(sweep: Sweep, one: Standing) -> dict[str, Setting]:
    """Every setting that differs, the seed and the state, for any job of the sweep."""
    own = settings_in(one.job.overrides)
    keys = dict.fromkeys([*sweep.swept, *map(key_of, one.job.overrides), SEED])
    seed = "" if sweep.seed is None else str(sweep.seed)
    values = {key: own.get(key, seed if key == SEED else "") for key in keys}
    # A seed as a number would be rounded.
    typed = {key: text if key == SEED else _typed(text) for key, text in values.items()}
    return {**typed, STATE: state_text(one.state, one.code)}


def of_one_type(rows: Mapping[str, Mapping[str, Setting]]) -> dict[str, dict[str, Setting]]:
    """A column with a text in it has texts only."""
    texts = {key for row in rows.values() for key, value in row.items() if isinstance(value, str)}
    return {
        name: {key: _spelled(value) if key in texts else value for key, value in row.items()}
        for name, row in rows.items()
    }


def metric_names(sweep: Sweep, found: Sequence[Standing]) -> list[str]:
    """The main one first; those of classes, of which there may be hundreds, are left to summary.csv."""
    main = main_metric_of(found, sweep.metric)
    all_of = sorted({name for one in found for name in one.metrics if "/AP-" not in name})
    return [*([main] if main else []), *(name for name in all_of if name != main)]


def _typed(text: str) -> Setting:
    try:
        return float(text)
    except ValueError:
        return text


def _experiment(sweep: Sweep, rows: Iterable[Mapping[str, Setting]], metrics: Sequence[str]) -> Summary.Value:
    rows = list(rows)
    columns = list(dict.fromkeys(key for row in rows for key in row))
    experiment = api_pb2.Experiment(
        name=sweep.folder.name,
        hparam_infos=[_column(key, [row[key] for row in rows if key in row]) for key in columns],
        metric_infos=[
            api_pb2.MetricInfo(name=api_pb2.MetricName(tag=name), display_name=name, dataset_type=0) for name in metrics
        ],
    )
    return _value(metadata.EXPERIMENT_TAG, plugin_data_pb2.HParamsPluginData(experiment=experiment))


def _column(key: str, values: Sequence[Setting]) -> api_pb2.HParamInfo:
    is_text = any(isinstance(value, str) for value in values)
    kind = api_pb2.DATA_TYPE_STRING if is_text else api_pb2.DATA_TYPE_FLOAT64
    column = api_pb2.HParamInfo(name=key, display_name=key, type=kind)
    column.domain_discrete.extend(list(dict.fromkeys(values)))
    return column


def _start(one: Standing, row: Mapping[str, Setting]) -> Summary.Value:
    info = plugin_data_pb2.SessionStartInfo(group_name=one.job.folder)
    for key, value in row.items():
        if isinstance(value, str):
            info.hparams[key].string_value = value
        else:
            info.hparams[key].number_value = value
    return _value(metadata.SESSION_START_INFO_TAG, plugin_data_pb2.HParamsPluginData(session_start_info=info))


def _end(one: Standing) -> list[Summary.Value]:
    """Nothing of a job that has not begun."""
    if one.state not in STATUS:
        return []
    info = plugin_data_pb2.SessionEndInfo(status=STATUS[one.state], end_time_secs=one.seconds)
    return [_value(metadata.SESSION_END_INFO_TAG, plugin_data_pb2.HParamsPluginData(session_end_info=info))]


def _spelled(value: Setting) -> str:
    return value if isinstance(value, str) else f"{value:g}"


def _value(tag: str, data: plugin_data_pb2.HParamsPluginData) -> Summary.Value:
    return Summary.Value(tag=tag, metadata=metadata.create_summary_metadata(data), tensor=metadata.NULL_TENSOR)


def _scalar(name: str, value: float) -> Summary.Value:
    about = SummaryMetadata(plugin_data=SummaryMetadata.PluginData(plugin_name="scalars"), data_class=DATA_CLASS_SCALAR)
    return Summary.Value(
        tag=name,
        metadata=about,
        tensor=TensorProto(dtype=DT_FLOAT, tensor_shape=TensorShapeProto(), float_val=[value]),
    )


def _write(sweep: Sweep, job: str, values: Sequence[Summary.Value], at: float) -> None:
    """A file of its own, whole or not at all."""
    text = io.BytesIO()
    writer = RecordWriter(text)
    writer.write(Event(wall_time=at, file_version="brain.Event:2").SerializeToString())
    writer.write(Event(wall_time=at, step=0, summary=Summary(value=values)).SerializeToString())
    folder = sweep.folder / FOLDER / job
    folder.mkdir(parents=True, exist_ok=True)
    with replacing(folder / FILE) as file:
        file.write(text.getvalue())
