"""The device policy on diagnosed machines."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import pytest

from launcher.config.adjustment import adjusted, look_up
from launcher.config.request import DeviceChoice, DeviceRequest, OnMissing
from launcher.config.values import from_plain, to_plain
from launcher.device.diagnosis import Diagnosis
from launcher.device.plan import DevicePlan, plan_devices
from launcher.device.rules import diagnose
from launcher.errors import DeviceUnavailableError, RequestError
from tests.device.recorded import (
    HEALTHY,
    HUNG,
    NO_GPU,
    TWO_GPUS,
    UUIDS,
    changed,
    driver_ends,
    driver_gpu,
    nvml_gpu,
    smoke,
)

AUTO, CUDA, CPU, MPS = DeviceChoice.auto, DeviceChoice.cuda, DeviceChoice.cpu, DeviceChoice.mps
KEYS: dict[str, Any] = {
    "MODEL": {
        "DEVICE": "cuda",
        "RESNETS": {"NORM": "FrozenBN", "DEFORM_ON_PER_STAGE": [False, False, False, False]},
        "FPN": {"NORM": ""},
        "ROI_MASK_HEAD": {"NORM": ""},
    },
    "SOLVER": {"IMS_PER_BATCH": 16, "AMP": {"ENABLED": False}, "WEIGHT_DECAY_NORM": 0.0},
    "DATALOADER": {"NUM_WORKERS": 4},
}
WITHOUT = diagnose(NO_GPU)
ONE = diagnose(HEALTHY)
TWO = diagnose(TWO_GPUS)
ONE_OF_TWO = diagnose(changed(TWO_GPUS, torch={"smoke_tests": (smoke(0, failed="context", code=214), smoke(1))}))
# A whole GPU, and one of which CUDA sees a slice
SLICED = diagnose(
    changed(
        TWO_GPUS,
        nvml={"gpus": (nvml_gpu(0), nvml_gpu(1, mig=True))},
        driver={"gpus": (replace(driver_gpu(0), uuid="GPU-33333333-cccc", memory_mib=4864), driver_gpu(0))},
        torch={"smoke_tests": (smoke(0), replace(smoke(0), uuid="MIG-33333333-cccc"))},
    )
)
PROMISED = diagnose(changed(NO_GPU, environment={"SLURM_JOB_ID": "7", "SLURM_JOB_GPUS": "0"}))


def ask(choice: DeviceChoice = AUTO, **settings: Any) -> DeviceRequest:
    return DeviceRequest(choice=choice, **settings)


def with_keys(**settings: Any) -> dict[str, Any]:
    """KEYS with some leaves replaced; `__` stands for the dot."""
    copy = adjusted(KEYS, ())
    for name, value in settings.items():
        *path, last = name.split("__")
        look_up(copy, ".".join(path))[last] = value
    return copy


def told(plan: DevicePlan) -> dict[str, tuple[Any, Any]]:
    return {each.setting: (each.asked, each.planned) for each in plan.adjustments}


@pytest.mark.parametrize(
    ("choice", "diagnosis", "kind"),
    [(AUTO, WITHOUT, "cpu"), (AUTO, ONE, "cuda"), (CUDA, ONE, "cuda"), (CPU, ONE, "cpu"), (CPU, WITHOUT, "cpu")],
)
def test_the_kind_of_device_follows_choice_and_machine(choice: DeviceChoice, diagnosis: Diagnosis, kind: str):
    plan = plan_devices(ask(choice), KEYS, diagnosis)

    assert plan.kind == kind
    assert plan.asked == choice.value


def test_falling_back_says_why_and_what_changes():
    plan = plan_devices(ask(), with_keys(SOLVER__AMP__ENABLED=True), WITHOUT)

    assert plan.reason == "no NVIDIA GPU in this machine"
    assert told(plan) == {"MODEL.DEVICE": ("cuda", "cpu"), "SOLVER.AMP.ENABLED": (True, False)}


def test_insisting_on_a_gpu_refuses_and_names_the_way_out():
    with pytest.raises(DeviceUnavailableError, match=r"device\.choice=cuda.*no NVIDIA GPU.*device\.choice=auto"):
        plan_devices(ask(CUDA), KEYS, WITHOUT)


def test_a_job_that_was_promised_gpus_refuses_to_fall_back():
    with pytest.raises(DeviceUnavailableError, match=r"promised GPUs.*device\.on_missing=fall_back"):
        plan_devices(ask(), KEYS, PROMISED)


@pytest.mark.parametrize("choice", [AUTO, CUDA])
def test_a_typed_fall_back_overrules_promise_and_insistence(choice: DeviceChoice):
    assert plan_devices(ask(choice, on_missing=OnMissing.fall_back), KEYS, PROMISED).kind == "cpu"


def test_auto_refuses_when_told_to():
    with pytest.raises(DeviceUnavailableError, match=r"^device\.on_missing=refuse insists"):
        plan_devices(ask(on_missing=OnMissing.refuse), KEYS, WITHOUT)


def test_the_cpu_that_was_asked_for_is_given_even_where_gpus_were_promised():
    assert plan_devices(ask(CPU), KEYS, PROMISED).kind == "cpu"


def test_model_device_counts_as_a_choice_under_auto():
    plan = plan_devices(ask(), with_keys(MODEL__DEVICE="cpu"), ONE)

    assert (plan.kind, told(plan)) == ("cpu", {})


def test_two_contradicting_choices_are_refused():
    with pytest.raises(RequestError, match=r"device\.choice=cuda contradicts MODEL\.DEVICE=cpu"):
        plan_devices(ask(CUDA), with_keys(MODEL__DEVICE="cpu"), ONE)


def test_an_ordinal_in_model_device_gives_way_to_the_gpu_that_the_run_sees():
    assert told(plan_devices(ask(), with_keys(MODEL__DEVICE="cuda:1"), ONE)) == {"MODEL.DEVICE": ("cuda:1", "cuda")}


def test_gpus_are_handed_over_by_uuid():
    plan = plan_devices(ask(count=2), KEYS, TWO)

    assert plan.gpu_uuids == UUIDS
    assert plan.num_processes == 2
    assert plan.environment == {"CUDA_VISIBLE_DEVICES": ",".join(UUIDS), "CUDA_DEVICE_ORDER": "PCI_BUS_ID"}


def test_one_of_two_is_the_one_with_more_free_memory():
    assert plan_devices(ask(), KEYS, TWO).gpu_uuids == UUIDS[1:]


def test_all_takes_every_usable_gpu():
    assert plan_devices(ask(count="all"), KEYS, TWO).num_processes == 2


@pytest.mark.parametrize("entry", [0, "0", UUIDS[0], "GPU-1111", "gpu-1111"])
def test_a_gpu_is_named_by_index_or_by_the_start_of_its_uuid(entry: Any):
    assert plan_devices(ask(ids=[entry]), KEYS, TWO).gpu_uuids == UUIDS[:1]


def test_an_index_means_the_whole_gpu_also_beside_a_slice():
    assert plan_devices(ask(ids=[0]), KEYS, SLICED).gpu_uuids == UUIDS[:1]


@pytest.mark.parametrize("entry", ["MIG-3333", "33333333-"])
def test_a_slice_is_named_by_the_start_of_its_uuid(entry: str):
    plan = plan_devices(ask(ids=[entry]), KEYS, SLICED)

    assert plan.environment["CUDA_VISIBLE_DEVICES"] == "MIG-33333333-cccc"
    assert plan.reason == "MIG-33333333 NVIDIA GeForce RTX 3090"


def test_a_refused_name_lists_gpus_and_slices():
    with pytest.raises(RequestError, match=rf"There are: 0 \({UUIDS[0]}\), MIG-33333333-cccc, 1 \({UUIDS[1]}\)\."):
        plan_devices(ask(ids=[5]), KEYS, SLICED)


@pytest.mark.parametrize("ids", [[0, UUIDS[0]], ["GPU-1", UUIDS[0]], [0, "0"]])
def test_a_gpu_that_is_named_twice_is_refused_whatever_its_names(ids: list[Any]):
    with pytest.raises(RequestError, match="names a GPU twice"):
        plan_devices(ask(ids=ids), KEYS, TWO)


@pytest.mark.parametrize("ids", [[5], ["GPU-9"], ["GPU-"], [True], [1.5]])
def test_a_name_that_fits_no_gpu_or_several_is_refused(ids: list[Any]):
    with pytest.raises(RequestError, match=r"device\.ids"):
        plan_devices(ask(ids=ids), KEYS, TWO)


def test_naming_a_gpu_on_a_machine_without_any_falls_back_as_usual():
    plan = plan_devices(ask(ids=[0]), KEYS, WITHOUT)

    assert plan.kind == "cpu"
    assert told(plan)["device.ids"] == ([0], [])


def test_a_named_gpu_that_is_sick_is_a_reason_to_fall_back_or_refuse():
    assert "GPU 0 fails" in plan_devices(ask(ids=[0]), KEYS, ONE_OF_TWO).reason
    with pytest.raises(DeviceUnavailableError, match="GPU 0 fails"):
        plan_devices(ask(CUDA, ids=[0]), KEYS, ONE_OF_TWO)


def test_fewer_gpus_than_asked_are_taken_and_told_under_auto():
    plan = plan_devices(ask(count=2), KEYS, ONE_OF_TWO)

    assert plan.gpu_uuids == UUIDS[1:]
    assert told(plan) == {"device.count": (2, 1)}


def test_fewer_gpus_than_insisted_on_are_refused():
    with pytest.raises(
        DeviceUnavailableError, match=r"device\.count=2, but only 1 usable.*GPU 0 fails.*device\.count=1"
    ):
        plan_devices(ask(CUDA, count=2), KEYS, ONE_OF_TWO)


@pytest.mark.parametrize("count", [0, -1, "many", 1.5, None, ""])
def test_a_count_that_is_no_count_is_refused(count: Any):
    with pytest.raises(RequestError, match=r"device\.count"):
        plan_devices(ask(count=count), KEYS, TWO)


def test_a_batch_that_cannot_be_shared_names_what_can():
    with pytest.raises(RequestError, match=r"IMS_PER_BATCH=15 or 18, or device\.count=2 or 4"):
        plan_devices(ask(CPU, count=3), KEYS, WITHOUT)


def test_more_processes_than_images_names_what_works():
    with pytest.raises(RequestError, match=r"IMS_PER_BATCH=4, or device\.count=2\."):
        plan_devices(ask(CPU, count=4), with_keys(SOLVER__IMS_PER_BATCH=2), WITHOUT)


def test_all_problems_of_a_request_are_told_at_once():
    with pytest.raises(RequestError) as caught:
        plan_devices(ask(CPU, count=0, ids=[0]), KEYS, WITHOUT)

    assert "device.count=0" in str(caught.value)
    assert "device.ids=[0]" in str(caught.value)


def test_the_cpu_runs_as_many_processes_as_asked():
    plan = plan_devices(ask(CPU, count=2), KEYS, WITHOUT)

    assert plan.num_processes == 2
    assert plan.default_environment["OMP_NUM_THREADS"] == "4"


def test_a_fall_back_starts_no_more_processes_than_cpus_and_shares_the_batch():
    three_cpus = diagnose(changed(NO_GPU, platform={"num_cpus": 3}))

    plan = plan_devices(ask(count=16), KEYS, three_cpus)

    assert plan.num_processes == 2
    assert told(plan)["device.count"] == (16, 2)


def test_all_on_the_cpu_is_one_process():
    assert told(plan_devices(ask(CPU, count="all"), KEYS, WITHOUT))["device.count"] == ("all", 1)


def test_the_cpu_run_has_every_gpu_hidden():
    plan = plan_devices(ask(CPU), KEYS, ONE)

    assert plan.environment == {"CUDA_VISIBLE_DEVICES": "", "PYTORCH_NVML_BASED_CUDA_CHECK": "1"}
    assert not plan.mask_driver


@pytest.mark.parametrize("choice", [AUTO, CPU])
def test_a_dangerous_driver_is_masked(choice: DeviceChoice):
    assert plan_devices(ask(choice), KEYS, diagnose(driver_ends(HUNG))).mask_driver


@pytest.mark.parametrize(
    ("norm", "count", "planned"),
    [
        ("SyncBN", 1, "BN"),
        ("nnSyncBN", 1, "BN"),
        ("naiveSyncBN", 1, "BN"),
        ("SyncBN", 2, "naiveSyncBN"),
        ("nnSyncBN", 2, "naiveSyncBN"),
    ],
)
def test_synchronised_norms_become_what_the_cpu_has(norm: str, count: int, planned: str):
    keys = with_keys(MODEL__FPN__NORM=norm, MODEL__RESNETS__NORM=norm)

    adjustments = told(plan_devices(ask(CPU, count=count), keys, WITHOUT))

    assert adjustments["MODEL.FPN.NORM"] == adjustments["MODEL.RESNETS.NORM"] == (norm, planned)


@pytest.mark.parametrize(("norm", "count"), [("naiveSyncBN", 2), ("BN", 1), ("GN", 1), ("", 2)])
def test_other_norms_stay(norm: str, count: int):
    plan = plan_devices(ask(CPU, count=count), with_keys(MODEL__FPN__NORM=norm), WITHOUT)

    assert "MODEL.FPN.NORM" not in told(plan)


def test_synchronised_norms_and_mixed_precision_stay_on_a_gpu():
    plan = plan_devices(ask(), with_keys(MODEL__FPN__NORM="SyncBN", SOLVER__AMP__ENABLED=True), ONE)

    assert plan.adjustments == ()


@pytest.mark.parametrize(
    ("num_cpus", "count", "asked", "planned"),
    [(2, 1, 4, 2), (8, 2, 16, 4), (1, 2, 4, 1), (8, 1, 8, None), (2, 1, 0, None)],
)
def test_loader_workers_are_no_more_than_the_cpus(num_cpus: int, count: int, asked: int, planned: int | None):
    diagnosis = diagnose(changed(NO_GPU, platform={"num_cpus": num_cpus}))

    plan = plan_devices(ask(CPU, count=count), with_keys(DATALOADER__NUM_WORKERS=asked), diagnosis)

    assert told(plan).get("DATALOADER.NUM_WORKERS", (None, None))[1] == planned


def test_deformable_convolutions_are_refused_on_the_cpu_by_name():
    keys = with_keys(MODEL__RESNETS__DEFORM_ON_PER_STAGE=[False, True, True, True])

    with pytest.raises(DeviceUnavailableError, match="DEFORM_ON_PER_STAGE"):
        plan_devices(ask(CPU), keys, WITHOUT)


def test_deformable_convolutions_need_compiled_operators_on_a_gpu():
    keys = with_keys(MODEL__RESNETS__DEFORM_ON_PER_STAGE=[False, True, True, True])
    plain = diagnose(changed(HEALTHY, packages={"detectron2_compiled": ()}))

    assert plan_devices(ask(), keys, ONE).kind == "cuda"
    with pytest.raises(DeviceUnavailableError, match="compiled operators"):
        plan_devices(ask(), keys, plain)


def test_mps_is_refused_unless_the_fall_back_is_typed():
    with pytest.raises(DeviceUnavailableError, match=r"mps.*device=cpu"):
        plan_devices(ask(MPS), KEYS, WITHOUT)

    assert plan_devices(ask(MPS, on_missing=OnMissing.fall_back), KEYS, WITHOUT).kind == "cpu"


def test_a_missing_package_is_refused_before_anything_starts():
    without_detectron2 = diagnose(changed(NO_GPU, packages={"detectron2_folder": ""}))

    with pytest.raises(DeviceUnavailableError, match="detectron2 is not installed"):
        plan_devices(ask(), KEYS, without_detectron2)


def test_adjustments_give_the_keys_that_the_worker_gets():
    plan = plan_devices(ask(), with_keys(SOLVER__AMP__ENABLED=True), WITHOUT)

    keys = adjusted(KEYS, plan.adjustments)

    assert (keys["MODEL"]["DEVICE"], keys["SOLVER"]["AMP"]["ENABLED"]) == ("cpu", False)


def test_the_refusal_tells_how_to_repair_the_cause():
    with pytest.raises(DeviceUnavailableError, match=r"To repair it: reboot, or reset the GPU"):
        plan_devices(ask(CUDA), KEYS, diagnose(driver_ends(HUNG)))


def test_all_gpus_must_be_able_to_share_the_batch():
    with pytest.raises(
        RequestError, match=r"device\.count=all takes 2 GPUs.*IMS_PER_BATCH=2 or 4, or device\.count=1\."
    ):
        plan_devices(ask(count="all"), with_keys(SOLVER__IMS_PER_BATCH=3), TWO)


@pytest.mark.parametrize(("count", "threads"), [(1, {}), (4, {"OMP_NUM_THREADS": "2"}), (16, {"OMP_NUM_THREADS": "1"})])
def test_cpu_processes_share_the_cpus_and_their_threads_wait_asleep(count: int, threads: dict[str, str]):
    plan = plan_devices(ask(CPU, count=count), KEYS, WITHOUT)

    assert plan.default_environment == threads


def test_threads_beside_a_gpu_are_left_alone():
    assert plan_devices(ask(), KEYS, ONE).default_environment == {}


@pytest.mark.parametrize(
    ("environment", "message"),
    [
        (
            {"SLURM_JOB_ID": "7", "SLURM_STEP_ID": "0", "SLURM_PROCID": "1", "SLURM_STEP_NUM_TASKS": "4"},
            r"srun started 4 launchers.*device\.count=4",
        ),
        ({"TORCHELASTIC_RUN_ID": "none", "WORLD_SIZE": "2"}, r"torchrun started 2 launchers.*device\.count=2"),
    ],
)
def test_a_launcher_that_was_started_several_times_is_refused(environment: dict[str, str], message: str):
    one_of_several = diagnose(changed(NO_GPU, environment=environment))

    with pytest.raises(RequestError, match=message):
        plan_devices(ask(CPU), KEYS, one_of_several)


def test_the_reason_names_the_gpus_and_what_was_left_of_a_list():
    assert plan_devices(ask(), KEYS, ONE).reason == "GPU 0 NVIDIA GeForce RTX 3090"
    assert plan_devices(ask(ids=[0, 1]), KEYS, TWO).reason.endswith("(1 of device.ids=[0,1])")
    assert plan_devices(ask(ids=[0, 1], count=2), KEYS, TWO).reason.endswith("3090")


def test_why_fewer_processes_run_is_told_in_words():
    (count, *_) = plan_devices(ask(CPU, count="all"), KEYS, WITHOUT).adjustments
    (workers,) = plan_devices(ask(CPU, count=4), {"DATALOADER": {"NUM_WORKERS": 9}}, WITHOUT).adjustments

    assert count.reason == "one process uses all CPUs"
    assert workers.reason == "8 CPUs are available for 4 processes"


def test_a_configuration_without_a_batch_size_leaves_the_count_alone():
    assert plan_devices(ask(CPU, count=3), {}, WITHOUT).num_processes == 3
    assert plan_devices(ask(CPU, count=3), {"SOLVER": {"IMS_PER_BATCH": 0}}, WITHOUT).num_processes == 3


@pytest.mark.parametrize(
    "plan", [plan_devices(ask(count=2), KEYS, TWO), plan_devices(ask(CPU, count=2), KEYS, WITHOUT)]
)
def test_a_plan_comes_back_from_its_file(plan: DevicePlan):
    assert from_plain(DevicePlan, json.loads(json.dumps(to_plain(plan)))) == plan


def test_a_diagnosis_comes_back_from_its_file():
    assert from_plain(Diagnosis, json.loads(json.dumps(to_plain(ONE_OF_TWO)))) == ONE_OF_TWO
