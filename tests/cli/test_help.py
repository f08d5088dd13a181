"""dal run --help: all settings, at once, at any width."""

import re
import subprocess
import sys

import pytest

from dal.cli.help import help_text
from dal.cli.main import main
from dal.config.settings import GROUPS, choices, sections


def shown(text):
    return " ".join(text.split())


def test_help_names_every_choice_and_every_setting_with_its_sentence():
    text = shown(help_text(["acquisition=bald", "experiment=cifar10"], width=100))
    for group in GROUPS:
        for name, sentence in choices(group).items():
            assert f"{name} {sentence}" in text
    for section in sections(["acquisition=bald", "experiment=cifar10"]):
        assert section.title in text
        for setting in section.settings:
            assert setting.key + "=" in text and setting.sentence in text
    assert "acquisition.num_draws=20 Networks drawn" in text
    assert (
        "campaign.query_size=1000 Labels that the first query buys, or their cost with another campaign.cost. "
        "[experiment=cifar10]" in text
    )
    for flag in ("--multirun", "--jobs", "--cfg job", "hydra/launcher=", "-h"):
        assert flag in text


def test_values_are_written_as_on_the_command_line():
    text = help_text(["data=image_folder"], width=100)
    for value in (
        "data.root=''",
        "data.csv=null",
        "model.freeze_backbone=false",
        "prices.currency=USD",
        "model.weight_decay=0.0",
    ):
        assert f"  {value} " in text


@pytest.mark.parametrize("width", [20, 60, 80, 100, 140, 500])
def test_lines_fit_the_width(width):
    text = help_text(["acquisition=bald"], width=width)
    limit = min(max(width, 60), 120)
    assert [line for line in text.splitlines() if len(line) > limit and " " in line.strip()] == []
    assert max(map(len, text.splitlines())) > 0.9 * limit


def test_only_a_terminal_gets_bold_titles(monkeypatch, capsys):
    assert "\033" not in help_text() and "\033[1mModel\033[0m" in help_text(bold=True)
    monkeypatch.setattr("sys.stdout.isatty", lambda: True)
    monkeypatch.setenv("NO_COLOR", "1")
    with pytest.raises(SystemExit):
        main(["run", "-h"])
    assert "\033" not in capsys.readouterr().out


@pytest.mark.parametrize("order", [["--help", "acquisition=bald"], ["acquisition=bald", "-h", "--multirun"]])
def test_the_flag_may_stand_anywhere(order, capsys):
    with pytest.raises(SystemExit) as caught:
        main(["run", *order])
    printed = capsys.readouterr()
    assert not caught.value.code and "acquisition.num_draws=20" in printed.out and not printed.err


def test_an_unknown_choice_is_one_sentence_and_status_2(capsys):
    with pytest.raises(SystemExit) as caught:
        main(["run", "--help", "acquisition=blad"])
    printed = capsys.readouterr()
    assert caught.value.code == 2 and not printed.out
    assert re.fullmatch(r"Error: acquisition: expected one of .* \(did you mean bald\?\)\.\n", printed.err)


HEAVY = ["torch", "pytorch_lightning", "torchvision", "sklearn", "scipy", "pandas", "numpy", "hydra", "omegaconf"]


def run_and_list_imports(*arguments):
    program = (
        "import sys\nfrom dal.cli.main import main\n"
        f"try: main({list(arguments)!r})\n"
        f"finally: print([name for name in {HEAVY} if name in sys.modules], file=sys.stderr)"
    )
    return subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=200)


@pytest.mark.parametrize("arguments", [["run", "--help", "acquisition=bald"], ["--help"], ["report", "--help"]])
def test_help_imports_nothing_that_takes_time(arguments):
    done = run_and_list_imports(*arguments)
    assert done.returncode == 0 and done.stdout.startswith("usage: dal")
    assert done.stderr == "[]\n"


def test_the_first_line_says_what_is_imported_before_it_is(tmp_path):
    program = (
        "import sys\nsys.modules['dal.cli.run'] = None\nfrom dal.cli.main import main\n"
        "try: main(['run'])\nexcept ImportError: print('torch' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=200)
    assert done.stderr == "Loading PyTorch and Lightning ...\n" and done.stdout == "False\n"


@pytest.mark.parametrize("variable", ["RANK", "LOCAL_RANK", "SLURM_PROCID"])
def test_one_of_several_processes_says_what_is_imported(variable, monkeypatch, capsys):
    monkeypatch.delitem(sys.modules, "pytorch_lightning", raising=False)
    monkeypatch.setitem(sys.modules, "dal.cli.run", None)
    monkeypatch.setenv(variable, "1")
    with pytest.raises(ImportError):
        main(["run"])
    assert not capsys.readouterr().err


def test_a_closed_pipe_ends_the_command_without_a_traceback():
    process = subprocess.Popen(
        [sys.executable, "-m", "dal", "run", "--help"], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    process.stdout.close()
    assert process.stderr.read() == ""
    process.stderr.close()
    assert process.wait() == 141


def test_help_shows_only_the_sections_that_are_named(capsys):
    for words in (["--help", "training"], ["training", "-h", "seed=3"]):
        with pytest.raises(SystemExit) as done:
            main(["run", *words])
        text = capsys.readouterr().out
        assert done.value.code == 0
        assert "training.batch_size=" in text and "campaign." not in text and "usage" not in text
    text = help_text(["acquisition=bald"], only=["acquisition", "compute"])
    assert "acquisition.num_draws=20" in text and "saver" in text and "training.batch_size" not in text
    with pytest.raises(SystemExit) as done:
        main(["run", "--help", "trainin"])
    assert done.value.code == 2 and "got 'trainin' (did you mean training?)" in capsys.readouterr().err
