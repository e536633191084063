# shellcheck shell=bash
# How every job starts; sourced by the launchers, which name the checkout in $home.
#
#     launch RECIPE [key=value ...]     train one run
#     sweep SWEEP [key=value ...]       train trials of a sweep, one after another, until none is left
#
# Inside an allocation (sbatch, salloc): one process a task, through srun, continuing what there is to continue.
# Elsewhere, also in a step of a job: on this machine alone, as `mien train` and `mien sweep` would.

: "${home:?}"
# shellcheck source=slurm/cluster.sh
. "$home/slurm/cluster.sh"

launch() {
    local recipe=$1 overrides=("${@:2}") code=0
    prepare
    in_allocation || alone train "$recipe" "${overrides[@]}"
    choose_run "${overrides[@]}"
    rendezvous
    overrides=("${shape[@]}" "${overrides[@]}" "${chosen[@]}")
    local root=${chosen[0]#run.root=}
    step "$root" "${mien[@]}" train "$recipe" --resume "${overrides[@]}" || code=$?
    case $(verdict "$code" "$root") in
        requeue) scontrol requeue "$job" ;;
    esac
    exit "$code"
}

sweep() {
    local code taken root failed=0 first=1
    prepare
    in_allocation || alone sweep "$@"
    rendezvous
    while ((first)) || ! late; do
        first=0 code=0
        taken=$(srun --nodes=1 --ntasks=1 "${flags[@]}" "${mien[@]}" sweep-take "$@") || code=$?
        root=${taken% *}
        ((code)) || [[ -n $taken ]] || exit "$failed" # nothing left to take
        if ! ((code)); then
            step "$root" "${mien[@]}" sweep-trial "$root" "--claim=${taken##* }" "${shape[@]}" || code=$?
        fi
        if ! ((code)); then
            [[ -e $root/done ]] || exit 0 # saved after a notice, and requeued by mien
            continue
        fi
        case $(verdict "$code" "${root:-checkpoints/job-$SLURM_JOB_ID}") in
            requeue) break ;;
            fail)
                [[ -n $root ]] || exit "$code" # not even a trial could be taken
                srun --nodes=1 --ntasks=1 "${flags[@]}" "${mien[@]}" sweep-fail "$root" \
                    "ended with code $code $((MIEN_MAX_REQUEUES + 1)) times, no further each time"
                failed=1
                ;;
            *) exit "$code" ;;
        esac
    done
    scontrol requeue "$job"
    exit 0
}

# Sets what both need: `mien` (how to call it), `flags` (of srun), `shape` (keys that Slurm decides), `job`.
prepare() {
    local python=${MIEN_PYTHON:-$home/.venv/bin/python} words
    [[ -n $MIEN_PYTHON || -x $python ]] || python=python3
    if [[ -n $MIEN_MODULES ]]; then
        read -ra words <<<"$MIEN_MODULES"
        module load "${words[@]}"
    fi
    read -ra words <<<"$MIEN_CONTAINER"
    mien=("${words[@]}" "$python" -u -m mien)
    read -ra flags <<<"$MIEN_SRUN_FLAGS"
    [[ -z ${SLURM_CPUS_PER_TASK:-} ]] || flags+=("--cpus-per-task=$SLURM_CPUS_PER_TASK") # srun forgets it since 22.05
    shape=(engine.nodes=auto engine.devices=auto "engine.grace_s=$MIEN_NOTICE_S")
    # One task of an array has the number of the whole array: name the task, or all would be requeued.
    job=${SLURM_JOB_ID:-}
    [[ -z ${SLURM_ARRAY_TASK_ID:-} ]] || job=${SLURM_ARRAY_JOB_ID}_$SLURM_ARRAY_TASK_ID
}

# Steps of users count from 0; Slurm's own, such as the batch script and the shell of salloc, have huge numbers.
in_allocation() {
    [[ -n ${SLURM_JOB_ID:-} ]] && ((${SLURM_STEP_ID:-4294967291} >= 4294967290))
}

alone() {
    unset "${!SLURM_@}"
    exec "${mien[@]}" "$@"
}

# step ROOT COMMAND ...: the command as one process a task. Gives the code that says why it ended: that of a bad input
# (2) before that of a notice, and these before whatever else befell a rank; 143 is what the others are ended with.
step() {
    local root=$1 codes=$1/.exit-codes code=0
    export OMP_NUM_THREADS=${OMP_NUM_THREADS:-${SLURM_CPUS_PER_TASK:-1}}
    after_node_failure "$root" || return 1
    rm -rf "$codes"
    mkdir -p "$codes"
    srun --kill-on-bad-exit=1 "${flags[@]}" bash "$home/slurm/rank.sh" "$codes" "${@:2}" || code=$?
    ((code == 0)) || code=$(sort_codes "$code" "$codes"/*)
    rm -rf "$codes"
    rmdir "$root" 2>/dev/null || true # nothing came of it
    return "$code"
}

# sort_codes CODE FILE ...: the one that matters; srun's own if no rank left any.
sort_codes() {
    local codes found
    codes=$(cat "${@:2}" 2>/dev/null)
    found=$(grep -x 2 <<<"$codes" || grep -xE '138|140' <<<"$codes" || grep -vxE '(0|143)?' <<<"$codes" ||
        grep -x 143 <<<"$codes" || echo "$1")
    echo "${found%%$'\n'*}"
}

# verdict CODE ROOT: what becomes of a job whose step ended with a code.
#
#   requeue  it was told to stop before mien could listen, or inside a container without scontrol (128 + SIGUSR1 or
#            SIGUSR2; 128 + SIGTERM only if Slurm pre-empts the job, else somebody wants it gone); or it died by itself
#   fail     it died by itself, and more often than $MIEN_MAX_REQUEUES without having got further
#   end      it is done, wanted gone, or its input is bad (2)
#
# mien itself saves and requeues its job when it is told to stop, and its code is then 0.
verdict() {
    local facts
    (($1 != 0 && $1 != 2)) || { echo end && return; }
    facts=$(scontrol --oneliner show job "$job")
    if [[ $facts != *JobState=RUNNING* ]]; then
        echo end
    elif (($1 == 138 || $1 == 140)) || [[ $facts == *PreemptTime=[0-9]* ]]; then
        echo requeue
    elif (($1 == 130 || $1 == 143)); then
        echo end
    elif count_failure "$2" "ended with code $1"; then
        echo requeue
    else
        echo fail
    fi
}

# count_failure ROOT WHAT: notes one more failure in ROOT/failures (the newest checkpoint then, and failures since one
# got further); false beyond $MIEN_MAX_REQUEUES. Stops by a notice never come here.
count_failure() {
    local file=$1/failures newest before=none count=0
    newest=$(find "$1" -path '*/checkpoints/step-*' -prune -printf '%f\n' 2>/dev/null | sort | tail -n 1)
    [[ ! -f $file ]] || read -r before count <"$file"
    if [[ -n $newest && ($before == none || $newest > $before) ]]; then
        before=$newest count=0
    fi
    count=$((count + 1))
    mkdir -p "$1"
    echo "$before $count" >"$file"
    if ((count > MIEN_MAX_REQUEUES)); then
        echo "job $job $2 $count times without getting further: given up (MIEN_MAX_REQUEUES)" >&2
        return 1
    fi
    echo "job $job $2: $count of at most $MIEN_MAX_REQUEUES requeues without getting further" >&2
}

# A node that fails takes this script along, and Slurm runs the job again by itself, for ever. Where Slurm keeps
# accounts, they tell a failed node from a pre-emption without notice.
after_node_failure() {
    ((${SLURM_RESTART_COUNT:-0} > 0)) || return 0
    local before
    before=$(sacct --noheader --parsable2 --duplicates --allocations --jobs="$job" --format=State 2>/dev/null |
        grep -v RUNNING | tail -n 1) || true
    [[ $before != NODE_FAIL* ]] || count_failure "$1" "lost a node"
}

# Whether the notice of the time limit has come or is due: it reaches only what runs at that moment.
late() {
    local end
    end=$(scontrol --oneliner show job "$job" | sed -n 's/.* EndTime=\([^ ]*\).*/\1/p')
    [[ $end == [0-9]* ]] && (($(date -d "$end" +%s) - $(date +%s) <= MIEN_NOTICE_S))
}

# Sets `chosen`: overrides that give this job a run root of its own, so that a requeued job finds its run and no other
# job's, and an array task its own share of a list: line i + 1 of $MIEN_SWEEP (`key=value ...`), else seed = i.
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
