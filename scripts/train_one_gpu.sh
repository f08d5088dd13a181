#!/usr/bin/env bash
# A campaign on one GPU. Start it again to go on after an interruption.
#   scripts/train_one_gpu.sh experiment=cifar10 data.download=true acquisition=badge seed=1
set -euo pipefail
exec dal run trainer.accelerator=gpu trainer.devices=1 trainer.precision=bf16-mixed "$@"
