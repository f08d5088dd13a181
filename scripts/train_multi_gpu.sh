#!/usr/bin/env bash
# A campaign whose rounds train on several GPUs of one machine. training.batch_size is over all of them together.
#   GPUS=4 scripts/train_multi_gpu.sh experiment=cifar10 data.download=true
set -euo pipefail
gpus=${GPUS:-$(nvidia-smi --list-gpus | wc -l)}
exec torchrun --standalone --nproc-per-node "$gpus" -m dal run \
    trainer.accelerator=gpu trainer.devices="$gpus" trainer.strategy=ddp trainer.precision=bf16-mixed "$@"
