#!/usr/bin/env bash
# Train RigFace, faces edited through a 3D face:
#
#     sbatch slurm/train_rigface.sh [RECIPE] [key=value ...]      on a cluster
#     bash slurm/train_rigface.sh [RECIPE] [key=value ...]        on this machine
#
# RECIPE is recipes/rigface/paper.yaml unless given: two GPUs, one task each. Flags of sbatch change what is asked
# for, and slurm/cluster.sh holds the facts of the cluster. An array trains one run a task: --array=0-4 takes seeds
# 0 to 4.
#
#SBATCH --job-name=rigface
#SBATCH --nodes=1
#SBATCH --ntasks-per-node=2
#SBATCH --time=24:00:00
#SBATCH --signal=SIGUSR1@120
#SBATCH --requeue
#SBATCH --open-mode=append

set -euo pipefail

home=$(dirname "$(dirname "$(realpath "$0")")")
if [[ ! -f $home/slurm/launch.sh ]]; then # sbatch runs a copy of this file: ask where the file is
    home=$(scontrol show job "$SLURM_JOB_ID" | sed -n 's|.*Command=\(.*\)/slurm/train_rigface\.sh.*|\1|p')
    home=${home%%$'\n'*} # the number of an array's last task names the whole array
    home=${home:-$SLURM_SUBMIT_DIR}
fi
# shellcheck source=slurm/launch.sh
. "$home/slurm/launch.sh"

recipe=$home/recipes/rigface/paper.yaml
if [[ $# -gt 0 && $1 != *=* && $1 != -* ]]; then
    recipe=$1
    shift
fi
launch "$recipe" "$@"
