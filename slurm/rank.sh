#!/usr/bin/env bash
# One rank, and a note of how it ended: `bash rank.sh FOLDER COMMAND ...` writes the exit code to FOLDER/<rank>.
#
# Of a step whose first rank failed srun ends the others and tells 143, whatever the code was. A rank that is killed
# together with this shell leaves the 137 that is written first.

trap : USR1 USR2 TERM INT # they reach the command as well, and it decides
note=$1/$SLURM_PROCID
echo 137 >"$note"
"${@:2}"
code=$?
echo "$code" >"$note"
exit "$code"
