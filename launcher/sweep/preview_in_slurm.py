"""What the jobs of a sweep would do in Slurm, job by job: there no device of this host counts."""

from __future__ import annotations

from launcher.cluster.freeze import PlanData, look_at_run
from launcher.cluster.job import processes_on_node
from launcher.config.keys import Keys
from launcher.config.request import RunRequest, Scaling
from launcher.launch.scaling import scale_to
from launcher.run.attempts import device_text
from launcher.run.paths import RunPaths
from launcher.sweep.array import in_folder
from launcher.sweep.books import Books
from launcher.sweep.preview import JobPlan, data_key, does, once, plan_each
from launcher.sweep.values import Job


def preview_in_slurm(books: Books, plan_data: PlanData) -> list[JobPlan]:
    """The plans of the jobs that were admitted.

    Raises:
        LauncherError: some cannot be continued in their folders; every problem is named.
    """
    sweep, plan_once = books.sweep, once(plan_data, data_key)
    assert sweep is not None

    def plan_one(job: Job) -> JobPlan:
        folder = sweep.folder_of(job)
        run = look_at_run(in_folder(books.requests[job.folder], folder), RunPaths(folder), plan_once)
        processes = processes_on_node(run.request) * run.request.cluster.nodes
        keys = _keys_on(run.request, processes)
        return JobPlan(
            number=job.number,
            folder=job.folder,
            overrides=job.overrides,
            does=books.queue.text_of(folder) or does(run.start, books.decisions[job.folder]),
            device=device_text("cuda" if run.request.cluster.gpus_per_node else "cpu", processes),
            batch=keys["SOLVER.IMS_PER_BATCH"],
            learning_rate=keys["SOLVER.BASE_LR"],
            iterations=keys["SOLVER.MAX_ITER"],
        )

    return plan_each([job for job in sweep.jobs if job.folder in books.requests], plan_one)


def _keys_on(request: RunRequest, processes: int) -> Keys:
    is_scaled = request.scaling is Scaling.linear
    return request.keys.with_(scale_to(processes, request.keys)) if is_scaled else request.keys
