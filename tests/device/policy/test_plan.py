"""The device policy on diagnosed machines."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import pytest

from launcher.config.keys import Keys
from launcher.config.request import DeviceChoice, DeviceRequest, OnMissing, Precision, Scaling
from launcher.config.values import from_plain, to_plain
from launcher.device.causes.diagnose import diagnose
from launcher.device.diagnosis import Diagnosis, ExcludedGpu, UsableGpu
from launcher.device.policy.choice import by_default
from launcher.device.policy.plan import DevicePlan, plan_devices
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
from tests.values import changed_keys

AUTO, CUDA, CPU, MPS = DeviceChoice.auto, DeviceChoice.cuda, DeviceChoice.cpu, DeviceChoice.mps
KEYS = Keys(
    {
        "MODEL": {
            "DEVICE": "cuda",
            "RESNETS": {"NORM": "FrozenBN", "DEFORM_ON_PER_STAGE": [False, False, False, False]},
            "FPN": {"NORM": ""},
            "ROI_MASK_HEAD": {"NORM": ""},
        },
        "SOLVER": {"IMS_PER_BATCH": 16, "AMP": {"ENABLED": False}, "WEIGHT_DECAY_NORM": 0.0},
        "DATALOADER": {"NUM_WORKERS": 4},
    }
)
WITHOUT = diagnose(NO_GPU)
ONE = diagnose(HEALTHY)
TWO = diagnose(TWO_GPUS)
ONE_OF_TWO = diagnose(changed(TWO_GPUS, torch={"smoke_tests": (smoke(0, failed="context", code=214), smoke(1))}))
# A whole GPU, and one in MIG mode
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


def with_keys(**settings: Any) -> Keys:
    """KEYS with some leaves replaced; `__` stands for the dot."""
    return changed_keys(KEYS, **settings)


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


def test_what_only_predicts_on_the_cpu_runs_in_float32():
    plan = plan_devices(ask(CPU), with_keys(SOLVER__AMP__ENABLED=True), WITHOUT, trains=False)

    (adjustment,) = (one for one in plan.adjustments if one.setting == "SOLVER.AMP.ENABLED")
    assert plan.precision == ""
    assert adjustment.reason == "on the CPU only training runs in mixed precision"


@pytest.mark.parametrize(
    ("architecture", "amp", "sums"),
    [
        ("GeneralizedRCNN", True, "sparse sums"),
        ("GeneralizedRCNN", False, ""),
        ("RetinaNet", True, ""),
        ("MyOwnModel", True, "sparse sums"),
    ],
)
def test_roi_align_is_fast_on_the_cpu_for_models_that_have_it_and_who_asks_for_mixed_precision(
    architecture: str, amp: bool, sums: str
):
    keys = with_keys(SOLVER__AMP__ENABLED=amp, MODEL__META_ARCHITECTURE=architecture)

    plan = plan_devices(ask(CPU), keys, WITHOUT)

    assert plan.roi_align_by == sums
    assert any("ROIAlign" in notice for notice in plan.notices) == bool(sums)


def test_on_a_gpu_roi_align_stays_torchvisions():
    assert plan_devices(ask(), with_keys(SOLVER__AMP__ENABLED=True), ONE).roi_align_by == ""


def test_insisting_on_a_gpu_refuses_and_names_the_way_out():
    with pytest.raises(DeviceUnavailableError, match=r"device\.choice=cuda.*no NVIDIA GPU.*device\.choice=auto"):
        plan_devices(ask(CUDA), KEYS, WITHOUT)


def test_a_job_with_allocated_gpus_refuses_to_fall_back():
    with pytest.raises(DeviceUnavailableError, match=r"allocated GPUs.*device\.on_missing=fall_back"):
        plan_devices(ask(), KEYS, PROMISED)


@pytest.mark.parametrize("choice", [AUTO, CUDA])
def test_an_explicit_fall_back_overrules_allocation_and_choice(choice: DeviceChoice):
    assert plan_devices(ask(choice, on_missing=OnMissing.fall_back), KEYS, PROMISED).kind == "cpu"


def test_auto_refuses_with_on_missing_refuse():
    with pytest.raises(DeviceUnavailableError, match=r"^device\.on_missing=refuse requires"):
        plan_devices(ask(on_missing=OnMissing.refuse), KEYS, WITHOUT)


def test_the_cpu_that_was_asked_for_is_given_even_where_gpus_were_allocated():
    assert plan_devices(ask(CPU), KEYS, PROMISED).kind == "cpu"


def test_model_device_counts_as_a_choice_under_auto():
    plan = plan_devices(ask(), with_keys(MODEL__DEVICE="cpu"), ONE)

    assert (plan.kind, told(plan)) == ("cpu", {})


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


def test_an_index_means_the_whole_gpu_also_beside_a_mig_instance():
    assert plan_devices(ask(ids=[0]), KEYS, SLICED).gpu_uuids == UUIDS[:1]


@pytest.mark.parametrize("entry", ["MIG-3333", "33333333-"])
def test_a_mig_instance_is_named_by_the_start_of_its_uuid(entry: str):
    plan = plan_devices(ask(ids=[entry]), KEYS, SLICED)

    assert plan.environment["CUDA_VISIBLE_DEVICES"] == "MIG-33333333-cccc"
    assert plan.reason == "MIG-33333333 NVIDIA GeForce RTX 3090"


def test_a_refused_name_lists_gpus_and_mig_instances():
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


def test_fewer_gpus_than_asked_are_taken_and_reported_under_auto():
    plan = plan_devices(ask(count=2), KEYS, ONE_OF_TWO)

    assert plan.gpu_uuids == UUIDS[1:]
    assert told(plan) == {"device.count": (2, 1)}


def test_fewer_gpus_than_insisted_on_are_refused():
    with pytest.raises(
        DeviceUnavailableError, match=r"device\.count=2, but only 1 usable.*GPU 0 fails.*device\.count=1"
    ):
        plan_devices(ask(CUDA, count=2), KEYS, ONE_OF_TWO)


def test_a_job_with_allocated_gpus_trains_on_those_that_work():
    """Falling back to the CPU is another matter."""
    promised = replace(ONE_OF_TWO, gpus_allocated=True)

    plan = plan_devices(ask(count=2), KEYS, promised)

    assert plan.gpu_uuids == UUIDS[1:]
    with pytest.raises(DeviceUnavailableError, match=r"allocated GPUs.*GPU 0 fails.*; GPU 1 died"):
        plan_devices(ask(count=2), KEYS, promised, avoid={UUIDS[1]: "died"})


def test_why_there_are_fewer_gpus_is_reported_by_name():
    (count, *_) = plan_devices(ask(count=2), KEYS, ONE_OF_TWO).adjustments

    assert count.reason == "1 GPU is usable: GPU 0 fails: uncorrectable ECC error"


def test_a_gpu_to_avoid_is_left_out_and_named():
    failed = "failed in attempt 1: uncorrectable memory error"

    assert plan_devices(ask(), KEYS, TWO, avoid={UUIDS[1]: failed}).gpu_uuids == UUIDS[:1]
    assert plan_devices(ask(), KEYS, ONE, avoid={UUIDS[0]: failed}).reason == f"GPU 0 {failed}"
    with pytest.raises(DeviceUnavailableError, match=f"but GPU 1 {failed}"):
        plan_devices(ask(CUDA, ids=[1]), KEYS, TWO, avoid={UUIDS[1]: failed})


def test_without_gpus_to_avoid_nothing_is_left_out():
    assert plan_devices(ask(count=2), KEYS, TWO, avoid={"GPU-elsewhere": "failed"}).num_processes == 2


@pytest.mark.parametrize(
    ("settings", "clause"),
    [
        ({"min_free_gib": 12.1}, r"GPU 0 has 12\.0 of 24\.0 GiB free, less than device\.min_free_gib=12\.1"),
        ({"max_used": 0.4}, r"GPU 0 has 12\.0 of 24\.0 GiB free: more in use than device\.max_used=0\.4"),
    ],
)
def test_a_gpu_with_too_little_free_memory_is_left_out_and_named(settings: dict[str, float], clause: str):
    half_full = diagnose(changed(HEALTHY, nvml={"gpus": (nvml_gpu(free_mib=12288),)}))

    assert plan_devices(ask(min_free_gib=12, max_used=0.5), KEYS, half_full).kind == "cuda"
    assert plan_devices(ask(**settings), KEYS, half_full).kind == "cpu"
    with pytest.raises(DeviceUnavailableError, match=clause):
        plan_devices(ask(CUDA, **settings), KEYS, half_full)


def test_the_verdict_is_about_the_gpus_that_a_run_gets():
    one_full = diagnose(changed(TWO_GPUS, nvml={"gpus": (nvml_gpu(0, free_mib=512), nvml_gpu(1))}))
    broken = replace(one_full.findings[0], code="torch.broken", cause="torch does not import")
    cannot = replace(one_full, verdict="detectron2 cannot train here: torch does not import", fatal=(broken,))

    assert "on 1 GPU: GPU 1 " in by_default(one_full).verdict
    assert by_default(cannot).verdict == cannot.verdict


def test_less_than_a_gibibyte_of_free_memory_is_enough_for_who_asks_for_less():
    nearly_full = diagnose(changed(HEALTHY, nvml={"gpus": (nvml_gpu(free_mib=512),)}))

    assert plan_devices(ask(min_free_gib=0.4), KEYS, nearly_full).kind == "cuda"
    assert plan_devices(ask(), KEYS, nearly_full).kind == "cpu"
    assert plan_devices(ask(min_free_gib=0), KEYS, nearly_full).kind == "cuda"


SILENT = diagnose(changed(TWO_GPUS, torch={"all_reduce": smoke(0, failed="sync", error="NCCL error")}))


def test_gpus_that_cannot_talk_to_each_other_train_alone_or_not_at_all():
    plan = plan_devices(ask(count=2), KEYS, SILENT)

    assert plan.num_processes == 1
    assert plan.adjustments[0].reason == "the GPUs cannot talk to each other (NCCL)"
    assert plan_devices(ask(count="all"), KEYS, SILENT).num_processes == 1
    assert plan_devices(ask(CUDA, count=1), KEYS, SILENT).adjustments == ()
    with pytest.raises(DeviceUnavailableError, match=r"device\.count=2, but the GPUs cannot talk.*To fix it"):
        plan_devices(ask(CUDA, count=2), KEYS, SILENT)


def gpu(index: int, name: str = "A100", capability: tuple[int, int] = (8, 0), free: int = 80_000) -> UsableGpu:
    return UsableGpu(
        index=index, uuid=f"GPU-{index}", name=name, capability=capability, memory_mib=80_000, free_mib=free
    )


SICK = ExcludedGpu(index=3, uuid="GPU-3", name="A100", code="gpu.sick", cause="fails")
NEWER = {"name": "H100", "capability": (9, 0)}


@pytest.mark.parametrize(
    ("there", "count", "chosen"),
    [
        pytest.param([gpu(0, free=79_000), gpu(1)], 1, [1], id="most free memory"),
        pytest.param([gpu(0), gpu(1)], 1, [0], id="then the first"),
        pytest.param([gpu(0), gpu(1, free=79_000, **NEWER)], 1, [1], id="newest before most free memory"),
        pytest.param([gpu(0, free=60_000, **NEWER), gpu(1)], 1, [1], id="idle before newest"),
        pytest.param(
            [gpu(0, free=60_000, **NEWER), gpu(1), gpu(2, name="V100", capability=(7, 0))],
            2,
            [1, 2],
            id="idle before newest, also when none are alike",
        ),
        pytest.param([gpu(0, **NEWER), gpu(1), gpu(2)], 2, [1, 2], id="alike before newest"),
        pytest.param([gpu(0, free=9_000), gpu(1), gpu(2, **NEWER)], 2, [1, 2], id="idle before alike"),
        pytest.param([gpu(0), gpu(1), gpu(2, **NEWER), gpu(3, **NEWER)], 2, [2, 3], id="newest of two pairs"),
        pytest.param([gpu(0), gpu(1), gpu(2, **NEWER)], 3, [0, 1, 2], id="all of them, if so many are asked for"),
    ],
)
def test_the_best_gpus_are_chosen(there: list[UsableGpu], count: int, chosen: list[int]):
    plan = plan_devices(ask(count=count), Keys({}), replace(ONE, usable_gpus=tuple(there)))

    assert plan.gpu_uuids == tuple(f"GPU-{index}" for index in chosen)


def test_gpus_that_are_not_alike_are_reported():
    mixed = replace(ONE, usable_gpus=(gpu(0), gpu(1, **NEWER)))

    (notice,) = plan_devices(ask(count=2), Keys({}), mixed).notices

    assert notice.startswith("the GPUs are not alike (GPU 0 A100, GPU 1 H100)")
    assert plan_devices(ask(count=1), Keys({}), mixed).notices == ()


def test_a_batch_that_grows_with_the_processes_needs_no_equal_shares():
    eight = with_keys(SOLVER__REFERENCE_WORLD_SIZE=8)

    assert plan_devices(ask(CPU, count=3), eight, WITHOUT, scaling=Scaling.linear).num_processes == 3


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
    assert not plan.hide_driver


@pytest.mark.parametrize("choice", [AUTO, CPU])
def test_a_dangerous_driver_is_hidden(choice: DeviceChoice):
    assert plan_devices(ask(choice), KEYS, diagnose(driver_ends(HUNG))).hide_driver


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


PLAIN = diagnose(changed(HEALTHY, packages={"detectron2_compiled": ()}))
CPU_OPERATORS = diagnose(changed(HEALTHY, torch={"ops_cuda": "not available"}))
BROKEN_OPERATORS = diagnose(changed(HEALTHY, torch={"ops_error": "undefined symbol: _ZN3c10"}))
DEFORMABLE = with_keys(MODEL__RESNETS__DEFORM_ON_PER_STAGE=[False, True, True, True])


@pytest.mark.parametrize(
    ("choice", "diagnosis", "served_by"),
    [
        (CPU, WITHOUT, "torchvision"),
        (CPU, CPU_OPERATORS, "torchvision"),
        (CUDA, PLAIN, "torchvision"),
        (CUDA, CPU_OPERATORS, "torchvision"),
        (CUDA, BROKEN_OPERATORS, "torchvision"),
        (CUDA, ONE, ""),
    ],
)
def test_torchvision_replaces_deformable_convolutions_that_cannot_train_here(
    choice: DeviceChoice, diagnosis: Diagnosis, served_by: str
):
    plan = plan_devices(ask(choice), DEFORMABLE, diagnosis)

    assert plan.deformable_by == served_by
    assert any("deformable" in notice for notice in plan.notices) == bool(served_by)


def test_a_model_without_deformable_convolutions_needs_no_stand_in():
    plan = plan_devices(ask(CPU), KEYS, WITHOUT)

    assert (plan.deformable_by, plan.notices) == ("", ())


@pytest.mark.parametrize(
    ("choice", "diagnosis", "is_refused"),
    [
        (CUDA, PLAIN, True),
        (CPU, PLAIN, True),
        (CUDA, CPU_OPERATORS, True),
        (CPU, CPU_OPERATORS, False),
        (CPU, BROKEN_OPERATORS, True),
    ],
)
def test_rotated_boxes_are_refused_by_name_where_their_operators_are_missing(
    choice: DeviceChoice, diagnosis: Diagnosis, is_refused: bool
):
    rotated = with_keys(MODEL__ROI_HEADS={"NAME": "RROIHeads"}, MODEL__PROPOSAL_GENERATOR={"NAME": "RRPN"})

    if not is_refused:
        assert plan_devices(ask(choice), rotated, diagnosis).kind == choice.value
        return
    with pytest.raises(DeviceUnavailableError, match=r"NAME=RRPN, .*NAME=RROIHeads: rotated boxes.*from source"):
        plan_devices(ask(choice), rotated, diagnosis)


AMP = with_keys(SOLVER__AMP__ENABLED=True)
OLD = diagnose(changed(HEALTHY, driver={"gpus": (driver_gpu(0, (7, 5)),)}))
OLD_AND_NEW = diagnose(changed(TWO_GPUS, driver={"gpus": (driver_gpu(0, (7, 5)), driver_gpu(1))}))


@pytest.mark.parametrize(
    ("diagnosis", "count", "asked", "planned"),
    [
        (ONE, 1, Precision.auto, "bfloat16"),
        (ONE, 1, Precision.float16, "float16"),
        (replace(ONE, usable_gpus=(gpu(0, capability=(8, 0)),)), 1, Precision.auto, "bfloat16"),
        (OLD, 1, Precision.auto, "float16"),
        (OLD, 1, Precision.bfloat16, "float16"),
        (OLD_AND_NEW, 2, Precision.auto, "float16"),
        (OLD_AND_NEW, 1, Precision.auto, "bfloat16"),
        (WITHOUT, 1, Precision.bfloat16, ""),
    ],
)
def test_mixed_precision_is_what_every_chosen_gpu_can_do(
    diagnosis: Diagnosis, count: int, asked: Precision, planned: str
):
    assert plan_devices(ask(count=count, precision=asked), AMP, diagnosis).precision == planned


def test_without_mixed_precision_a_precision_is_reported_to_have_no_effect():
    assert plan_devices(ask(), KEYS, ONE).precision == ""
    (notice,) = plan_devices(ask(precision=Precision.bfloat16), KEYS, ONE).notices
    assert "device.precision=bfloat16 has no effect" in notice


def test_the_precision_that_was_chosen_or_had_to_be_changed_is_reported():
    assert plan_devices(ask(), AMP, ONE).notices[0].startswith("mixed precision runs in bfloat16")
    (adjustment,) = plan_devices(ask(precision=Precision.bfloat16), AMP, OLD).adjustments
    assert (adjustment.setting, adjustment.asked, adjustment.planned) == ("device.precision", "bfloat16", "float16")
    assert "has 7.5" in adjustment.reason


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

    keys = KEYS.with_(plan.adjustments)

    assert (keys["MODEL.DEVICE"], keys["SOLVER.AMP.ENABLED"]) == ("cpu", False)


def test_the_refusal_tells_how_to_fix_the_cause():
    with pytest.raises(DeviceUnavailableError, match=r"To fix it: reboot, or reset the GPU"):
        plan_devices(ask(CUDA), KEYS, diagnose(driver_ends(HUNG)))


def test_all_gpus_that_were_insisted_on_must_be_able_to_share_the_batch():
    with pytest.raises(
        RequestError, match=r"device\.count=all takes 2 GPUs.*IMS_PER_BATCH=2 or 4, or device\.count=1\."
    ):
        plan_devices(ask(CUDA, count="all"), with_keys(SOLVER__IMS_PER_BATCH=3), TWO)


@pytest.mark.parametrize("count", [4, "all"])
def test_of_gpus_that_cannot_share_the_batch_as_many_are_taken_as_can(count: Any):
    """One of four is sick, and 16 images do not go into three."""
    four = replace(ONE, usable_gpus=tuple(gpu(index) for index in range(3)), excluded_gpus=(SICK,))

    plan = plan_devices(ask(count=count), KEYS, four)

    assert plan.gpu_uuids == ("GPU-0", "GPU-1")
    assert told(plan) == {"device.count": (count, 2)}
    assert plan.adjustments[0].reason == (
        "3 GPUs are usable: GPU 3 fails; SOLVER.IMS_PER_BATCH=16 cannot be shared equally by 3 processes"
    )


def test_all_of_several_gpus_is_no_adjustment():
    four = replace(ONE, usable_gpus=tuple(gpu(index) for index in range(4)))

    plan = plan_devices(ask(count="all"), KEYS, four)

    assert plan.num_processes == 4
    assert "device.count" not in told(plan)


SLICES = tuple(
    replace(gpu, index=None, uuid=f"MIG-{number}", capability=(9, 0), memory_mib=4864, free_mib=4800 + number)
    for number, gpu in enumerate(TWO.usable_gpus)
)
ONLY_SLICES = replace(ONE, usable_gpus=SLICES)
TWO_AND_SLICES = replace(TWO, usable_gpus=(*SLICES, *TWO.usable_gpus))


@pytest.mark.parametrize("count", [1, 2, "all"])
def test_whole_gpus_are_taken_before_mig_instances_and_never_together_with_one(count: Any):
    plan = plan_devices(ask(count=count), KEYS, TWO_AND_SLICES)

    assert plan.gpu_uuids == (UUIDS if count != 1 else UUIDS[1:])
    assert told(plan) == ({} if count != "all" else {"device.count": ("all", 2)})


@pytest.mark.parametrize("asked", [{"count": 2}, {"count": "all"}, {"count": "all", "ids": ["MIG-0", "MIG-1"]}])
def test_of_several_mig_instances_one_trains_and_the_reason_is_reported(asked: dict[str, Any]):
    plan = plan_devices(ask(**asked), KEYS, ONLY_SLICES)

    assert plan.gpu_uuids == (SLICES[1].uuid,)
    assert plan.adjustments[0].setting == "device.count"
    assert "CUDA shows a process at most one" in plan.adjustments[0].reason


def test_several_mig_instances_or_one_beside_a_gpu_are_refused_where_insisted_on():
    with pytest.raises(
        DeviceUnavailableError, match=r"only 1 usable \(MIG-1.*\): a MIG instance.*Set device\.count=1,"
    ):
        plan_devices(ask(CUDA, count=2), KEYS, ONLY_SLICES)
    with pytest.raises(DeviceUnavailableError, match=r"only 1 usable \(GPU 0\): a MIG instance"):
        plan_devices(ask(CUDA, count=2, ids=[0, "MIG-0"]), KEYS, TWO_AND_SLICES)


def test_an_idle_mig_instance_is_taken_before_a_busy_gpu():
    busy = replace(ONE, usable_gpus=(SLICES[0], replace(ONE.usable_gpus[0], free_mib=9000)))

    assert plan_devices(ask(), KEYS, busy).gpu_uuids == (SLICES[0].uuid,)


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


def test_why_fewer_processes_run_is_reported():
    (count, *_) = plan_devices(ask(CPU, count="all"), KEYS, WITHOUT).adjustments
    (workers,) = plan_devices(ask(CPU, count=4), Keys({"DATALOADER": {"NUM_WORKERS": 9}}), WITHOUT).adjustments

    assert count.reason == "one process uses all CPUs"
    assert workers.reason == "8 CPUs are available for 4 processes"


def test_a_configuration_without_a_batch_size_leaves_the_count_alone():
    assert plan_devices(ask(CPU, count=3), Keys({}), WITHOUT).num_processes == 3
    assert plan_devices(ask(CPU, count=3), Keys({"SOLVER": {"IMS_PER_BATCH": 0}}), WITHOUT).num_processes == 3


@pytest.mark.parametrize(
    "plan", [plan_devices(ask(count=2), KEYS, TWO), plan_devices(ask(CPU, count=2), KEYS, WITHOUT)]
)
def test_a_plan_comes_back_from_its_file(plan: DevicePlan):
    assert from_plain(DevicePlan, json.loads(json.dumps(to_plain(plan)))) == plan


def test_a_diagnosis_comes_back_from_its_file():
    assert from_plain(Diagnosis, json.loads(json.dumps(to_plain(ONE_OF_TWO)))) == ONE_OF_TWO


def on_nodes(diagnosis: Diagnosis, nodes: int = 2, *, launchers: int | None = None, by: str = "srun") -> Diagnosis:
    return replace(diagnosis, num_nodes=nodes, num_launchers=launchers or nodes, started_by=by)


def test_each_of_several_nodes_takes_its_part_of_the_batch():
    two_gpus = plan_devices(ask(count="all"), KEYS, on_nodes(TWO))
    fewer = plan_devices(ask(count="all"), with_keys(SOLVER__IMS_PER_BATCH=2), on_nodes(TWO))
    on_cpus = plan_devices(ask(CPU, count=4), KEYS, on_nodes(WITHOUT))

    assert [plan.num_processes for plan in (two_gpus, fewer, on_cpus)] == [2, 1, 4]


@pytest.mark.parametrize(
    ("asked", "diagnosis", "batch", "words"),
    [
        (ask(CPU, count=4), on_nodes(WITHOUT), 12, "8 processes on 2 nodes. Set SOLVER.IMS_PER_BATCH=8 or 16, or"),
        (ask(CPU), on_nodes(WITHOUT, 4), 2, "4 processes on 4 nodes. Set SOLVER.IMS_PER_BATCH=4."),
        (ask(), on_nodes(ONE, 3), 16, "3 processes on 3 nodes. Set SOLVER.IMS_PER_BATCH=15 or 18."),
        (ask(CUDA, count=2), on_nodes(TWO), 2, "4 processes on 2 nodes. Set SOLVER.IMS_PER_BATCH=4, or device.count=1"),
    ],
)  # fmt: skip
def test_a_batch_that_all_nodes_cannot_share_is_refused(
    asked: DeviceRequest, diagnosis: Diagnosis, batch: int, words: str
):
    with pytest.raises(RequestError) as refused:
        plan_devices(asked, with_keys(SOLVER__IMS_PER_BATCH=batch), diagnosis)

    assert f"SOLVER.IMS_PER_BATCH={batch} cannot be shared equally by {words}" in str(refused.value)


@pytest.mark.parametrize(
    ("started", "line"),
    [
        ((2, 8, "srun"), "srun --nodes=2 --ntasks-per-node=1 --kill-on-bad-exit=1 launcher train ... device.count=4"),
        ((2, 3, "srun"), "srun --nodes=2 --ntasks-per-node=1 --kill-on-bad-exit=1 launcher train ... device.count=2"),
        ((2, 4, "torchrun"), "torchrun --nnodes=2 --nproc-per-node=1 -m launcher train ... device.count=2"),
    ],
)
def test_one_launcher_for_each_process_is_answered_with_one_for_each_node(started: tuple[int, int, str], line: str):
    nodes, launchers, by = started

    with pytest.raises(RequestError) as refused:
        plan_devices(ask(), KEYS, on_nodes(WITHOUT, nodes, launchers=launchers, by=by))

    assert str(refused.value).endswith(line)


def test_only_a_training_runs_on_several_nodes():
    with pytest.raises(RequestError, match="only a training runs on several"):
        plan_devices(ask(), KEYS, on_nodes(WITHOUT), trains=False)


def test_the_network_interface_is_named_to_gloo_and_nccl():
    names = {"GLOO_SOCKET_IFNAME": "ib0", "NCCL_SOCKET_IFNAME": "ib0"}

    assert names.items() <= plan_devices(ask(interface="ib0"), KEYS, TWO).environment.items()
    assert not names.keys() & plan_devices(ask(CPU), KEYS, WITHOUT).environment.keys()
