#!/usr/bin/env bash
# Several processes (PROCESSES=2) on the CPU, to try a set-up without a GPU: torchrun, for `accelerate launch --cpu` starts one
# process whatever it is told. Every option of `reg2rg train` may follow.
# For example: examples/launch/cpu.sh --data store --out runs/try --recipe tiny --max-steps 8
set -euo pipefail
export OMP_NUM_THREADS="${OMP_NUM_THREADS:-1}"
exec torchrun --standalone --nproc_per_node "${PROCESSES:-2}" \
  -m reg2rg train --set training.distributed=ddp "$@"
