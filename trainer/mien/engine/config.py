"""What a recipe may say about the loop: steps, batches, devices, optimiser, guard, checkpoints, tracking."""

from __future__ import annotations

import signal
from typing import Literal

from pydantic import Field, field_validator, model_validator

from mien.config import Config


class OptimizerConfig(Config):
    """AdamW (Loshchilov and Hutter, 2019), or a relative of it."""

    kind: Literal["adamw", "adamw8bit", "muon"] = "adamw"
    """`adamw8bit` keeps moments in eight bits (torchao): 2 bytes a weight, not 8. `muon` makes the updates of
    inner matrices orthogonal, which takes fewer steps; of systems that say which these are. Both with
    strategy `auto` or `ddp`."""
    lr: float = Field(default=1e-3, gt=0, le=10)
    """Peak learning rate; a parameter group multiplies it by its own `lr_scale`."""
    betas: tuple[float, float] = (0.9, 0.98)
    """Decay of the first and second moment, each in [0, 1)."""
    eps: float = Field(default=1e-6, gt=0, le=1e-2)
    """Added to the root of the second moment."""
    weight_decay: float = Field(default=0.1, ge=0, lt=10)
    """Decoupled decay; a parameter group may set its own."""

    @field_validator("betas")
    @classmethod
    def _betas(cls, value: tuple[float, float]) -> tuple[float, float]:
        if not all(0 <= beta < 1 for beta in value):
            raise ValueError("both betas must lie in [0, 1)")
        return value


class ScheduleConfig(Config):
    """Learning rate over the run: a linear warm-up, then `kind` down to `final` of the peak."""

    kind: Literal["cosine", "constant"] = "cosine"
    """Shape after the warm-up; `constant` stays at the peak."""
    warmup: int = Field(default=0, ge=0)
    """Steps of linear warm-up; step k of it runs at (k + 1) / warmup of the peak."""
    final: float = Field(default=0.0, ge=0, le=1)
    """Fraction of the peak reached at `engine.max_steps`."""


class GuardConfig(Config):
    """When to stop over steps whose loss or gradient is not finite; each is skipped on every rank."""

    max_in_a_row: int = Field(default=5, ge=1)
    """Stop the run after this many skipped steps in a row."""
    max_skips: int = Field(default=50, ge=1)
    """Stop the run after this many skipped steps in all."""


class SpikeConfig(Config):
    """When a loss is a spike, and what then; see `mien.engine.spikes`."""

    threshold: float = Field(default=8.0, gt=0)
    """Robust standard deviations above the median of the losses before."""
    window: int = Field(default=64, ge=8)
    """How many losses before it is compared with."""
    action: Literal["note", "skip", "rollback"] = "note"
    """Note it in `spikes.jsonl`, also skip its step, or also return to the newest checkpoint."""
    max_rollbacks: int = Field(default=3, ge=1)
    """Stop the run at a spike after this many rollbacks."""


class ProfileConfig(Config):
    """Steps to trace with torch's profiler, into `profile` of the run folder."""

    start: int | None = Field(default=None, ge=1)
    """First step to trace; null traces none."""
    steps: int = Field(default=3, ge=1, le=100)
    """How many."""


class BestConfig(Config):
    """Which validation metric decides the checkpoint that the `best` pointer names."""

    metric: str = Field(default="loss", min_length=1)
    """Name of a validation metric, as in `metrics.csv` without the `val/` in front."""
    mode: Literal["min", "max"] = "min"
    """Whether less or more of it is better."""


class ZeroConfig(Config):
    """DeepSpeed's ZeRO (Rajbhandari et al., 2020)."""

    stage: Literal[1, 2, 3] = 2
    """1 cuts the moments of AdamW over the ranks, 2 the gradients too, 3 also the weights."""
    offload: bool = False
    """Keep moments and float32 masters in host memory and step there: less GPU memory, more time."""


class EngineConfig(Config):
    """The loop. A step is one optimiser step, that is one global batch."""

    max_steps: int = Field(ge=1)
    """Length of the run in steps; the schedule is laid over it."""
    global_batch: int = Field(ge=1)
    """Samples a step, over all ranks and all micro batches."""
    accumulate: int = Field(default=1, ge=1)
    """Micro batches a step; each rank sees `global_batch / accumulate / ranks` samples at a time."""

    accelerator: Literal["auto", "cpu", "cuda"] = "auto"
    """Where to compute; `auto` takes a GPU if there is one."""
    devices: int | Literal["auto"] = "auto"
    """Processes a node. `auto`: under srun the tasks a node, else all GPUs, else one CPU process."""
    nodes: int | Literal["auto"] = "auto"
    """Machines. `auto`: under srun the nodes of the job, else one."""
    strategy: Literal["auto", "ddp", "fsdp2", "deepspeed"] = "auto"
    """How several processes share the work; `auto` takes DDP when there is more than one. FSDP2 and
    DeepSpeed's ZeRO cut weights, gradients and moments over the ranks. Each continues a checkpoint of any
    other."""
    zero: ZeroConfig = ZeroConfig()
    """What `deepspeed` cuts."""
    compile: bool = False
    """Compile the forward and backward pass of each of the system's blocks (torch.compile)."""
    precision: Literal["32", "64", "bf16"] = "32"
    """`bf16` computes in mixed bfloat16 with float32 weights; `64` is for comparing runs without rounding."""
    threads: int | None = Field(default=None, ge=1)
    """CPU threads of a process; None leaves torch's choice. Bitwise repetition needs the same number."""
    deterministic: bool | Literal["auto"] = "auto"
    """Ask torch for deterministic kernels; `auto` does so on the CPU, where it is free."""

    optimizer: OptimizerConfig = OptimizerConfig()
    schedule: ScheduleConfig = ScheduleConfig()
    clip: float | None = Field(default=1.0, gt=0)
    """Bound of the global gradient norm; None leaves gradients as they are."""
    ema: float | None = Field(default=None, gt=0, lt=1)
    """Decay of a moving average of the weights, used for validation and export; None keeps none."""
    guard: GuardConfig = GuardConfig()
    spike: SpikeConfig | None = None
    """Watch for spikes of the loss; None does not. Ranks then compare losses at every step."""

    log_every: int = Field(default=10, ge=1)
    """Steps between rows of `metrics.csv`, which hold means since the row before."""
    val_every: int | None = Field(default=None, ge=1)
    """Steps between validations on `data.val`; None validates only at the end."""
    val_batch: int | None = Field(default=None, ge=1)
    """Samples a validation batch, over all ranks; None takes those of a micro batch of all ranks."""
    checkpoint_every: int = Field(default=500, ge=1)
    """Steps between checkpoints; one more is written at the end and one on a stop signal."""
    checkpoint_async: bool = True
    """Write checkpoints beside the loop, which then waits only for a copy in host memory."""
    keep_last: int = Field(default=2, ge=2)
    """How many checkpoints to keep; at least two, so that a damaged one has a predecessor."""
    best: BestConfig | None = None
    """Also keep the checkpoint with the best validation metric; None keeps only the last ones."""

    profile: ProfileConfig = ProfileConfig()
    """Write a trace of some steps."""

    signals: tuple[str, ...] = ("SIGUSR1", "SIGUSR2", "SIGTERM", "SIGINT")
    """Signals that save and stop. SIGUSR1 and SIGUSR2 also requeue a Slurm job; see `mien.engine.signals`."""
    grace_s: float = Field(default=120.0, gt=0)
    """Seconds from a stop signal to a finished save; a run that takes longer is ended as it is."""

    hang_s: float | None = Field(default=1800.0, gt=0)
    """Seconds without a step, a validation or a checkpoint after which a run is ended, with the stacks of all
    ranks in `stacks-rank<r>.txt`; null never ends it."""

    @field_validator("precision", mode="before")
    @classmethod
    def _bits(cls, value: object) -> object:
        return str(value) if isinstance(value, int) else value  # a bare 32 is a number in YAML

    @field_validator("devices", "nodes")
    @classmethod
    def _count(cls, value: int | str) -> int | str:
        if isinstance(value, int) and value < 1:
            raise ValueError("must be at least 1, or auto")
        return value

    @field_validator("signals")
    @classmethod
    def _signals(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        allowed = ("SIGUSR1", "SIGUSR2", "SIGTERM", "SIGINT", "SIGHUP", "SIGXCPU")
        for name in value:
            if name not in allowed or not hasattr(signal, name):
                raise ValueError(f"{name!r} cannot be a stop signal; choose among {', '.join(allowed)}")
        return value

    @model_validator(mode="after")
    def _fits(self) -> EngineConfig:
        if self.global_batch % self.accumulate:
            raise ValueError(
                f"global_batch {self.global_batch} must be a multiple of accumulate {self.accumulate}"
            )
        if isinstance(self.devices, int) and isinstance(self.nodes, int):
            share = self.accumulate * self.devices * self.nodes
            if self.global_batch % share:
                what = f"global_batch {self.global_batch} must be a multiple of accumulate x devices x nodes"
                raise ValueError(f"{what} = {share}")
        if self.schedule.warmup > self.max_steps:
            raise ValueError(
                f"schedule.warmup {self.schedule.warmup} is longer than max_steps {self.max_steps}"
            )
        sharded = self.strategy in ("fsdp2", "deepspeed")
        if self.optimizer.kind == "adamw8bit" and (sharded or self.precision == "64"):
            raise ValueError(
                "optimizer.kind adamw8bit goes with strategy auto or ddp, at precision 32 or bf16"
            )
        if self.optimizer.kind == "muon" and sharded:
            raise ValueError("optimizer.kind muon needs whole matrices: strategy auto or ddp")
        if self.strategy == "deepspeed" and self.precision == "64":
            raise ValueError("deepspeed steps in float32: precision 64 goes with ddp and fsdp2")
        if self.best and self.best.metric.startswith("val/"):
            raise ValueError("best.metric is written without `val/` in front")
        return self


class TrackingConfig(Config):
    """Weights & Biases, TensorBoard, MLflow; `metrics.csv` in the run folder is written in any case."""

    wandb: Literal["auto", "online", "offline", "off"] = "auto"
    """`auto` is online with an API key and offline without one; offline opens no connection."""
    tensorboard: bool = False
    """Also write TensorBoard's event files to `tensorboard` in the run folder."""
    mlflow: str | None = Field(default=None, min_length=1)
    """Also send rows to this MLflow server (`http://...`) or database (`sqlite:///FILE`)."""
    images: int = Field(default=8, ge=0, le=64)
    """Training images, as augmented, to show at the first step of a run and at each validation; also in
    `samples` of the run folder."""
    artifacts: bool = False
    """Also send the last checkpoint of each session to W&B and MLflow."""
    project: str = "mien"
    """Project that receives the run; at MLflow the experiment."""
    entity: str | None = None
    """Team or user; None takes the key's default."""
    group: str | None = None
    """Groups runs, for instance the seeds of one experiment."""
    tags: tuple[str, ...] = ()
    """Free labels."""

    @field_validator("wandb", mode="before")
    @classmethod
    def _off(cls, value: object) -> object:
        return "off" if value is False else value  # a bare `off` is false in YAML
