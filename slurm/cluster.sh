# shellcheck shell=bash
# Facts of this cluster: the one file to edit for a new one. Each is a variable with a default, so the environment can
# set it too. Source it before sbatch, which reads the SBATCH_* variables below (its own flags win over them):
#
#     . slurm/cluster.sh && sbatch --nodes=4 --ntasks-per-node=8 slurm/pretrain_emocapclip.sh
#
# The launchers source it again inside the job. No secrets here: W&B takes its key from the environment or ~/.netrc.

# What to ask for. Empty leaves the cluster's default.
MIEN_PARTITION=${MIEN_PARTITION:-}
MIEN_ACCOUNT=${MIEN_ACCOUNT:-}
MIEN_CONSTRAINT=${MIEN_CONSTRAINT:-}         # kind of node, such as `h100`
MIEN_GPUS_PER_NODE=${MIEN_GPUS_PER_NODE:-}   # one task each: give sbatch the same --ntasks-per-node

# Seconds from the signal to the end of the job, both at the time limit and to save within. Pre-emption gives the
# partition's GraceTime instead: below the time of one save, progress since the last checkpoint is lost.
MIEN_NOTICE_S=${MIEN_NOTICE_S:-120}

# How often a job that dies by itself is run again without having got further; stops by a notice do not count.
MIEN_MAX_REQUEUES=${MIEN_MAX_REQUEUES:-3}

# How to reach Python on the nodes.
MIEN_MODULES=${MIEN_MODULES:-}               # for `module load`, such as `cuda/12.8 nccl`
MIEN_PYTHON=${MIEN_PYTHON:-}                 # empty: .venv of the checkout, else python3
MIEN_CONTAINER=${MIEN_CONTAINER:-}           # words in front of it, such as `apptainer exec --nv mien.sif`
MIEN_SRUN_FLAGS=${MIEN_SRUN_FLAGS:-}         # for pyxis, such as `--container-image=mien.sqsh`

# Network card between the nodes, such as `ib0`. Empty lets NCCL and Gloo choose.
MIEN_INTERFACE=${MIEN_INTERFACE:-}

[[ -z $MIEN_PARTITION ]] || export SBATCH_PARTITION=$MIEN_PARTITION
[[ -z $MIEN_ACCOUNT ]] || export SBATCH_ACCOUNT=$MIEN_ACCOUNT
[[ -z $MIEN_CONSTRAINT ]] || export SBATCH_CONSTRAINT=$MIEN_CONSTRAINT
[[ -z $MIEN_GPUS_PER_NODE ]] || export SBATCH_GPUS_PER_NODE=$MIEN_GPUS_PER_NODE
[[ -z $MIEN_INTERFACE ]] || export NCCL_SOCKET_IFNAME=$MIEN_INTERFACE GLOO_SOCKET_IFNAME=$MIEN_INTERFACE
export SBATCH_SIGNAL=SIGUSR1@$MIEN_NOTICE_S
