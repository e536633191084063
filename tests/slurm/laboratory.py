"""Submits the launcher to the test cluster, holds jobs still, and finds what they left."""

from __future__ import annotations

from pathlib import Path

from cluster import NODES, Cluster

from engine.runs import only_run
from mien.engine.rundir import RunFolder

LAUNCHER = Path(__file__).resolve().parents[2] / "slurm" / "pretrain_emocapclip.sh"
STEPS = 60
"""Length of a run: long enough that a job can be held still on its way, whatever the speed of the machine."""
PATIENCE_S = 240.0
"""Seconds that anything may take on a busy machine."""


class Laboratory:
    """A cluster and the folder that jobs are submitted from.

    Args:
        cluster: running.
        folder: holds `tiny.yaml`; receives the output of jobs and `checkpoints/`.
    """

    def __init__(self, cluster: Cluster, folder: Path) -> None:
        self.cluster = cluster
        self.folder = folder

    def submit(self, *flags: str, wandb: str = "off") -> str:
        """`sbatch FLAGS slurm/pretrain_emocapclip.sh tiny.yaml KEYS`; the id of the job.

        What does not begin with a dash is one more key.
        """
        keys = (f"engine.max_steps={STEPS}", f"tracking.wandb={wandb}", *(f for f in flags if f[0] != "-"))
        asked = (flag for flag in flags if flag[0] == "-")
        return self.cluster.submit(*asked, str(LAUNCHER), "tiny.yaml", *keys, cwd=self.folder)

    def pre_empt(self) -> str:
        """A job that wants both nodes for itself, in the partition that pre-empts; its id."""
        flags = ("--partition=urgent", f"--nodes={len(NODES)}", "--exclusive", "--wrap=sleep 1")
        return self.cluster.submit(*flags, cwd=self.folder)

    def hold(self, job: str) -> RunFolder:
        """Stop the ranks of a job (SIGSTOP) once they have logged a step, or they might end too early.

        Slurm lets them go on (SIGCONT) when it pre-empts them or tells them of their time limit.
        """
        root = self.root(job)
        logged = lambda: any(file.stat().st_size > 0 for file in root.glob("*/*/*/metrics.csv"))  # noqa: E731
        self.cluster.wait(logged, f"job {job} to train", PATIENCE_S, every=0.02)
        self.cluster.run("scancel", "--signal=STOP", job)
        return only_run(root)

    def let_go(self, job: str) -> None:
        """Undo `hold`; else Slurm would call a cancelled job stopped for ever."""
        self.cluster.run("scancel", "--signal=CONT", job)

    def root(self, job: str) -> Path:
        """The run root of a job (`5`) or of a task of an array (`5_1`), as the launcher chooses it."""
        number, _, task = job.partition("_")
        return self.folder / "checkpoints" / f"job-{number}" / (f"task-{task}" if task else "")

    def said(self, job: str) -> str:
        """What the job printed."""
        file = self.folder / f"slurm-{job}.out"
        return file.read_text() if file.exists() else ""

    def finish(self, job: str) -> RunFolder:
        """The job's run once the job has ended well."""
        facts = self.cluster.wait_ended(job, PATIENCE_S)
        assert facts["JobState"] == "COMPLETED", f"{facts}\n{self.said(job)}"
        run = only_run(self.root(job))
        assert run.info["state"] == "finished"
        assert self.said(job).splitlines()[-1] == str(run.path.relative_to(self.folder))
        return run
