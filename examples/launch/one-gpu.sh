#!/usr/bin/env bash
# The default recipe on one GPU. Every option of `reg2rg train` may follow.
# For example: examples/launch/one-gpu.sh --data store --out runs/paper --decoder models/llama-2-7b-chat
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
exec accelerate launch --config_file "$here/one-gpu.yaml" \
  -m reg2rg train --set training.distributed=none "$@"
