#!/usr/bin/env bash
# Run a campaign that trains on several GPUs of one machine. training.batch_size is the total over all GPUs.
#   GPUS=4 scripts/train_multi_gpu.sh experiment=cifar10 data.download=true
set -euo pipefail
gpus=${GPUS:-$(nvidia-smi --list-gpus | wc -l)}
exec torchrun --standalone --nproc-per-node "$gpus" -m dal run \
    trainer.accelerator=gpu trainer.devices="$gpus" trainer.strategy=ddp trainer.precision=bf16-mixed "$@"
