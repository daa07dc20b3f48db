#!/usr/bin/env bash
# The default recipe on the GPUs of one machine (GPUS=2) by FSDP 2. Every option of `reg2rg train` may follow.
# For example: examples/launch/fsdp.sh --data store --out runs/paper --decoder models/llama-2-7b-chat
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
exec accelerate launch --config_file "$here/fsdp.yaml" --num_processes "${GPUS:-2}" \
  -m reg2rg train --set training.distributed=fsdp "$@"
