#!/usr/bin/env bash
# Train the trials of a sweep, as an array of any size; each task takes trials until none is left:
#
#     sbatch --array=0-5 slurm/sweep.sh SWEEP [key=value ...]     on a cluster
#     bash slurm/sweep.sh SWEEP [key=value ...]                   on this machine
#
# SWEEP is a YAML file or a name below recipes/sweeps/. A task that is pre-empted or out of time saves, is requeued and
# goes on with its own trial. Flags of sbatch change what one trial gets: several nodes and tasks train it together.
#
#SBATCH --job-name=sweep
#SBATCH --nodes=1
#SBATCH --ntasks-per-node=1
#SBATCH --time=24:00:00
#SBATCH --signal=SIGUSR1@120
#SBATCH --requeue
#SBATCH --open-mode=append

set -euo pipefail

home=$(dirname "$(dirname "$(realpath "$0")")")
if [[ ! -f $home/slurm/launch.sh ]]; then # sbatch runs a copy of this file: ask where the file is
    home=$(scontrol show job "$SLURM_JOB_ID" | sed -n 's|.*Command=\(.*\)/slurm/sweep\.sh.*|\1|p')
    home=${home%%$'\n'*} # the number of an array's last task names the whole array
    home=${home:-$SLURM_SUBMIT_DIR}
fi
# shellcheck source=slurm/launch.sh
. "$home/slurm/launch.sh"

if (($# == 0)); then
    echo "which sweep? sbatch --array=0-5 slurm/sweep.sh recipes/sweeps/emocapclip_tiny.yaml" >&2
    exit 2
fi
sweep "$@"
