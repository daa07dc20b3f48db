#!/usr/bin/env bash
# A dask scheduler and one worker a core in one SLURM job of several nodes, and one run that fills a store with them; all of it
# ends with the run. Give the same command again if the job was killed. SCHEDULER_FILE must lie where every node sees it.
# For example: sbatch --nodes=4 examples/launch/preprocess/dask.sh /data/scans --out /data/store --segmenter threshold
#SBATCH --job-name=reg2rg-preprocess
#SBATCH --nodes=4
#SBATCH --ntasks-per-node=16
#SBATCH --cpus-per-task=1
#SBATCH --mem-per-cpu=2G
#SBATCH --time=24:00:00
#SBATCH --requeue
#SBATCH --open-mode=append
set -euo pipefail

file=${SCHEDULER_FILE:-${SLURM_SUBMIT_DIR:-$PWD}/dask-$SLURM_JOB_ID.json}
rm -f "$file"
trap 'kill $(jobs -p) 2>/dev/null || true; rm -f "$file"' EXIT
dask scheduler --port 0 --dashboard-address :0 --scheduler-file "$file" &
until [ -s "$file" ]; do sleep 0.2; done
# one thread each: a study keeps one core busy; no memory limit of dask's, SLURM has its own
srun dask worker --scheduler-file "$file" --nthreads 1 --memory-limit 0 --no-dashboard --local-directory "${TMPDIR:-/tmp}" &

address=$(python -c 'import json, sys; print(json.load(open(sys.argv[1]))["address"])' "$file")
status=0
reg2rg preprocess "$@" --cluster "$address" || status=$?
# 3: done, but some studies were refused; they stand in the store's failures.csv
if [ "$status" -ne 3 ]; then exit "$status"; fi
