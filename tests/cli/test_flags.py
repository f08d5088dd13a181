"""Flags that Hydra handles: its result, or one sentence."""

import pytest

import dal
from dal.cli.main import main


def call(capsys, *arguments):
    with pytest.raises(SystemExit) as caught:
        main(["run", *map(str, arguments)])
    printed = capsys.readouterr()
    lines = [line for line in printed.err.splitlines() if not line.startswith("Loading")]
    return caught.value.code or 0, printed.out, lines


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("--config-name=nope", "--config-name: expected run, or a file of --config-dir without .yaml, got 'nope'."),
        ("-cn nope --cfg job", "--config-name: expected run, or a file of --config-dir"),
        ("--multirun --config-name=nope seed=1,2", "--config-name: expected run, or a file of --config-dir"),
        ("--config-dir=/nope", "--config-dir: expected an existing folder, got '/nope'."),
        ("--config-path=/nope", "--config-path: expected an existing folder, got '/nope'."),
        ("--config-dir", "--config-dir: expected a value, got none."),
        ("--cfg job --package=nope", "--package: expected a section of the configuration, such as model, got 'nope'."),
        ("--cfg job -p ..", "--package: expected a section of the configuration"),
        ("--package model", "--package: expected --cfg on the same command line. Add --cfg job."),
        ("--resolve", "--resolve: expected --cfg on the same command line. Add --cfg job."),
        ("--cfg=foo", "--cfg: expected one of all, hydra, job, got 'foo'."),
        ("--info=foo", "--info: expected one of all, config, defaults"),
        ("--shell-completion", "dal run: expected one of --cfg, --config-dir"),
        ("--experimental-rerun=x", "dal run: expected one of --cfg, --config-dir"),
        ("--nope", "dal run: expected one of --cfg, --config-dir"),
        ("-k", "dal run: expected one of --cfg, --config-dir"),
        ("--cfg job --multirun seed=1,2", "--cfg: expected no --multirun on the same command line, got both."),
        ("--run seed=-1", "seed: expected at least 0, got -1."),
        ("--cfg hydra --package=nope", "--package: expected a section of the configuration"),
        ("--help --nope", "dal run: expected one of --cfg, --config-dir"),
        ("hydra.run.dir=x", "hydra.run.dir: expected a setting of dal, because only --multirun and --cfg use those"),
        ("hydra/job_logging=default", "hydra/job_logging: expected a setting of dal"),
        (
            "--multirun hydra.sweeper._target_=os.system",
            "dal run: expected a command line that Hydra accepts, got: Inv",
        ),
        ("--multirun seed=1,abc", "seed: expected a whole number, got abc."),
    ],
)
def test_a_wrong_flag_is_one_sentence(line, message, capsys):
    status, out, err = call(capsys, *line.split())
    assert status == 2 and not out and len(err) == 1 and err[0].startswith(f"Error: {message}"), err


def test_flags_that_fit_go_on(capsys, tmp_path):
    (tmp_path / "mine.yaml").write_text("defaults:\n  - run\n  - _self_\nseed: 7\n")
    assert "seed: 1\n" in call(capsys, "--cfg", "job", "--resolve", "seed=1")[1]
    assert "backbone: small_cnn" in call(capsys, "--cfg", "job", "--package", "model")[1]
    for place in ("--config-dir", "-cd"):
        assert "seed: 7\n" in call(capsys, "--cfg=job", place, tmp_path, "--config-name", "mine")[1]
    assert "Flags" in call(capsys, "--hydra-help")[1]
    assert call(capsys, "--version")[:2] == (0, f"dal {dal.__version__}\n")
    assert "BasicSweeper" in call(capsys, "--cfg", "hydra", "--package", "hydra.sweeper", "hydra.sweep.dir=x")[1]


def test_an_own_configuration_that_is_not_yaml_is_one_sentence(capsys, tmp_path):
    (tmp_path / "mine.yaml").write_text("seed: [")
    status, _, err = call(capsys, f"--config-dir={tmp_path}", "--config-name=mine")
    assert status == 2 and len(err) == 1 and err[0].startswith("Error: dal run: expected a command line that Hydra")


def test_a_wrong_key_of_an_own_configuration_is_one_sentence(capsys, tmp_path):
    status, _, err = call(capsys, f"--config-dir={tmp_path}", "+nope=x")
    assert status == 2 and len(err) == 1 and "got 'nope'" in err[0]
