#!/usr/bin/env bash
# Build a corpus of faces from movie files, each task of an array its own share of the movies:
#
#     sbatch --array=0-15 slurm/corpus_emocap.sh MOVIES OUT [options of `mien data emocap build`]
#     sbatch --dependency=afterok:JOB slurm/corpus_emocap.sh MOVIES OUT [the same options]
#
# The second job, without --array, splits and writes the shards; it does itself what a task has left undone. Outside
# Slurm, plain bash builds the whole on this machine. A job that is stopped goes on where it was; submit it again, too.
#
#SBATCH --job-name=corpus
#SBATCH --nodes=1
#SBATCH --ntasks-per-node=1
#SBATCH --cpus-per-task=8
#SBATCH --time=24:00:00
#SBATCH --signal=SIGUSR1@120
#SBATCH --requeue
#SBATCH --open-mode=append

set -euo pipefail

home=$(dirname "$(dirname "$(realpath "$0")")")
if [[ ! -f $home/slurm/launch.sh ]]; then # sbatch runs a copy of this file: ask where the file is
    home=$(scontrol show job "$SLURM_JOB_ID" | sed -n 's|.*Command=\(.*\)/slurm/corpus_emocap\.sh.*|\1|p')
    home=${home%%$'\n'*}
    home=${home:-$SLURM_SUBMIT_DIR}
fi
# shellcheck source=slurm/launch.sh
. "$home/slurm/launch.sh"

if (($# < 2)); then
    echo "which movies, and where to? sbatch --array=0-15 slurm/corpus_emocap.sh MOVIES OUT" >&2
    exit 2
fi
prepare
in_allocation || alone data emocap build "$@"

share=()
if [[ -n ${SLURM_ARRAY_TASK_ID:-} ]]; then
    first=${SLURM_ARRAY_TASK_MIN:-0}
    share=(--part "$((SLURM_ARRAY_TASK_ID - first))/$SLURM_ARRAY_TASK_COUNT")
fi
code=0
srun --nodes=1 --ntasks=1 "${flags[@]}" "${mien[@]}" data emocap build \
    --jobs "${SLURM_CPUS_PER_TASK:-1}" "${share[@]}" "$@" || code=$?
# 128 + SIGUSR1 or SIGUSR2: the notice of the time limit. Every complete shot is on the disk already.
if ((code == 138 || code == 140)); then
    scontrol requeue "$job"
    exit 0
fi
exit "$code"
