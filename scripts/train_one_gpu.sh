#!/usr/bin/env bash
# Run a campaign on one GPU. After an interruption, run the same command to resume.
#   scripts/train_one_gpu.sh experiment=cifar10 data.download=true acquisition=badge seed=1
set -euo pipefail
exec dal run trainer.accelerator=gpu trainer.devices=1 trainer.precision=bf16-mixed "$@"
