"""The device of scoring, and what a record says of the GPUs."""

import pytest
import torch

from dal.runs.environment import environment
from dal.runtime.distributed import scoring_device


@pytest.mark.parametrize(
    ("accelerator", "has_gpu", "rank", "device"),
    [
        ("auto", True, None, "cuda:0"),
        ("gpu", True, "1", "cuda:1"),
        ("cuda", True, "3", "cuda:3"),
        ("cpu", True, "1", "cpu"),
        ("auto", False, "1", "cpu"),
    ],
)
def test_a_process_scores_on_its_own_gpu(accelerator, has_gpu, rank, device, monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: has_gpu)
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: False)
    monkeypatch.delenv("LOCAL_RANK", raising=False)
    if rank is not None:
        monkeypatch.setenv("LOCAL_RANK", rank)
    assert scoring_device(accelerator) == torch.device(device)


def test_a_record_names_all_gpus_and_the_version_of_cuda_only_with_one(monkeypatch):
    monkeypatch.setattr(torch.version, "cuda", "13.0")
    for names in ([], ["H200", "L4"]):
        monkeypatch.setattr(torch.cuda, "device_count", lambda names=names: len(names))
        monkeypatch.setattr(torch.cuda, "get_device_name", lambda place, names=names: names[place])
        found = environment()
        assert found["gpus"] == names and found["cuda"] == ("13.0" if names else None)
