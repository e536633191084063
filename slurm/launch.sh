# shellcheck shell=bash
# How every job starts; sourced by the launchers, which name the checkout in $home.
#
#     launch RECIPE [key=value ...]
#
# Inside an allocation (sbatch, salloc): one process a task, through srun, continuing the job's run if there is one.
# Elsewhere, also in a step of a job: on this machine alone, as `mien train` would.

: "${home:?}"
# shellcheck source=slurm/cluster.sh
. "$home/slurm/cluster.sh"

launch() {
    local recipe=$1 overrides=("${@:2}") python=${MIEN_PYTHON:-$home/.venv/bin/python} words
    [[ -n $MIEN_PYTHON || -x $python ]] || python=python3
    if [[ -n $MIEN_MODULES ]]; then
        read -ra words <<<"$MIEN_MODULES"
        module load "${words[@]}"
    fi
    read -ra words <<<"$MIEN_CONTAINER"
    local mien=("${words[@]}" "$python" -u -m mien train "$recipe")
    # Steps of users count from 0; Slurm's own, such as the batch script and the shell of salloc, have huge numbers.
    if [[ -z ${SLURM_JOB_ID:-} ]] || ((${SLURM_STEP_ID:-4294967291} < 4294967290)); then
        unset "${!SLURM_@}"
        exec "${mien[@]}" "${overrides[@]}"
    fi
    choose_run "${overrides[@]}"
    rendezvous
    overrides=(
        engine.nodes=auto engine.devices=auto "engine.grace_s=$MIEN_NOTICE_S" "${overrides[@]}" "${chosen[@]}"
    )
    read -ra words <<<"$MIEN_SRUN_FLAGS"
    [[ -z ${SLURM_CPUS_PER_TASK:-} ]] || words+=("--cpus-per-task=$SLURM_CPUS_PER_TASK") # srun forgets it since 22.05
    export OMP_NUM_THREADS=${OMP_NUM_THREADS:-${SLURM_CPUS_PER_TASK:-1}}
    local status=0
    srun --kill-on-bad-exit=1 "${words[@]}" "${mien[@]}" --resume "${overrides[@]}" || status=$?
    requeue_if_due "$status"
    exit "$status"
}

# mien saves and requeues its job when told to stop. Left to do here: a notice that came before mien could listen, or
# inside a container without scontrol. The exit code is then 128 + the signal: SIGUSR1 (10) and SIGUSR2 (12) are always
# a notice, SIGTERM (15) only if Slurm pre-empts the job; else somebody wants it gone.
requeue_if_due() {
    local facts job=$SLURM_JOB_ID
    # One task of an array has the number of the whole array: name the task, or all would be requeued.
    [[ -z ${SLURM_ARRAY_TASK_ID:-} ]] || job=${SLURM_ARRAY_JOB_ID}_$SLURM_ARRAY_TASK_ID
    (($1 == 138 || $1 == 140 || $1 == 143)) || return 0
    facts=$(scontrol --oneliner show job "$job")
    [[ $facts == *JobState=RUNNING* ]] || return 0
    if (($1 != 143)) || [[ $facts == *PreemptTime=[0-9]* ]]; then
        scontrol requeue "$job"
    fi
}

# Sets `chosen`: overrides that give this job a run root of its own, so that a requeued job finds its run and no other
# job's, and an array task its own share of a sweep: line i + 1 of $MIEN_SWEEP (`key=value ...`), else seed = i.
choose_run() {
    local root=checkpoints/job-${SLURM_ARRAY_JOB_ID:-$SLURM_JOB_ID} override
    for override; do
        [[ $override != run.root=* ]] || root=${override#run.root=}
    done
    chosen=("run.root=$root")
    [[ -n ${SLURM_ARRAY_TASK_ID:-} ]] || return 0
    chosen=("run.root=$root/task-$SLURM_ARRAY_TASK_ID" "seed=$SLURM_ARRAY_TASK_ID")
    [[ -n ${MIEN_SWEEP:-} ]] || return 0
    local trials words
    mapfile -t trials <"$MIEN_SWEEP"
    if [[ -z ${trials[SLURM_ARRAY_TASK_ID]:-} ]]; then
        echo "$MIEN_SWEEP: no line $((SLURM_ARRAY_TASK_ID + 1)); use sbatch --array=0-$((${#trials[@]} - 1))" >&2
        exit 2
    fi
    read -ra words <<<"${trials[SLURM_ARRAY_TASK_ID]}"
    chosen=("${chosen[0]}" "${words[@]}")
}

# Where rank 0 listens: the address by which Slurm itself reaches the first node, and a port of this job.
rendezvous() {
    local first
    read -r first < <(scontrol show hostnames "$SLURM_JOB_NODELIST")
    MASTER_ADDR=$(scontrol show node "$first" | sed -n 's/.*NodeAddr=\([^ ]*\).*/\1/p')
    MASTER_PORT=$((10000 + SLURM_JOB_ID % 20000))
    export MASTER_ADDR MASTER_PORT
}
