#!/usr/bin/env bash
# A SLURM job array that fills one store: job I of N takes the I-th of N parts. A job that is put back into the queue, or given
# again after it was killed, goes on where it stopped. To do one part again, say of how many: SHARDS=16 sbatch --array=3 …
# For example: sbatch --array=1-16 examples/launch/preprocess/array.sh /data/scans --out /data/store --segmenter threshold
#SBATCH --job-name=reg2rg-preprocess
#SBATCH --array=1-16
#SBATCH --cpus-per-task=16
#SBATCH --mem-per-cpu=2G
#SBATCH --time=24:00:00
#SBATCH --requeue
#SBATCH --open-mode=append
set -euo pipefail

status=0
reg2rg preprocess "$@" --shard "$SLURM_ARRAY_TASK_ID/${SHARDS:-$SLURM_ARRAY_TASK_COUNT}" \
  --workers "${SLURM_CPUS_PER_TASK:-1}" || status=$?
# 3: done, but some studies were refused; they stand in the store's failures.csv
if [ "$status" -ne 3 ]; then exit "$status"; fi
