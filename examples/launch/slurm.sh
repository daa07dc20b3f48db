#!/usr/bin/env bash
# Several nodes with SLURM: one launcher a node, which starts a process for each of its GPUs. KIND is ddp (default), fsdp or
# deepspeed-zero2. A job that SLURM puts back into the queue goes on from its last checkpoint, since --resume is given.
# For example: sbatch examples/launch/slurm.sh --data store --out runs/paper --decoder models/llama-2-7b-chat
#SBATCH --job-name=reg2rg
#SBATCH --nodes=2
#SBATCH --ntasks-per-node=1
#SBATCH --gpus-per-node=4
#SBATCH --cpus-per-task=16
#SBATCH --time=24:00:00
#SBATCH --requeue
#SBATCH --open-mode=append
set -euo pipefail

# sbatch runs a copy of this file: the folder of the launch files is named from where sbatch was called
here=${LAUNCH_FILES:-${SLURM_SUBMIT_DIR:-.}/examples/launch}
kind=${KIND:-ddp}
gpus=${SLURM_GPUS_ON_NODE:-4}
extra=()
if [ "$kind" = deepspeed-zero2 ]; then extra=(--deepspeed_config_file "$here/deepspeed-zero2.json"); fi

hosts=$(scontrol show hostnames "$SLURM_JOB_NODELIST")
HEAD_NODE=${hosts%%$'\n'*}
HEAD_PORT=$((20000 + SLURM_JOB_ID % 20000))
export HEAD_NODE HEAD_PORT

# the number of a node is known on the node alone, hence the inner shell
exec srun --kill-on-bad-exit=1 bash -c 'exec accelerate launch --num_machines "$SLURM_NNODES" --machine_rank "$SLURM_NODEID" \
  --main_process_ip "$HEAD_NODE" --main_process_port "$HEAD_PORT" --same_network "$@"' launch \
  --config_file "$here/$kind.yaml" "${extra[@]}" --num_processes "$((SLURM_NNODES * gpus))" \
  -m reg2rg train --set "training.distributed=${kind%-zero2}" --resume "$@"
