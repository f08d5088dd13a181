"""Options and other arguments in any order, in all commands."""

import itertools

import pytest

from dal.cli.arguments import run_and_overrides
from dal.cli.commands import parse_command
from dal.cli.main import main
from dal.cli.rank import _warn_about_ignored
from dal.cli.run import run_command
from dal.errors import DalError


def parsed(*arguments):
    return vars(parse_command(list(arguments)))


def orders(command, *groups):
    for order in itertools.permutations(groups):
        yield parsed(command, *itertools.chain.from_iterable(order))


def test_rank_takes_its_arguments_in_any_order():
    found = list(orders("rank", ["runs/a"], ["--pool", "P"], ["acquisition=bald"], ["--top", "3"]))
    for options in found:
        assert (options["pool"], options["top"]) == ("P", 3)
        assert run_and_overrides(options["run"]) == ("runs/a", ["acquisition=bald"])


def test_report_and_compare_take_their_arguments_in_any_order(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
    for options in orders("report", ["a", "b"], ["--prices", "label=1", "kwh=2"], ["--target", "0.9"]):
        assert options["runs"] == ["a", "b"] and options["prices"] == ["label=1", "kwh=2"]
        assert options["target"] == 0.9
    for options in orders(
        "compare", ["a", "b"], ["--target", "0.8", "0.9"], ["--vary", "model.lr"], ["--common-seeds"]
    ):
        assert options["runs"] == ["a", "b"] and options["target"] == [0.8, 0.9] and options["vary"] == ["model.lr"]


def test_runs_may_stand_on_both_sides_of_an_option():
    assert parsed("compare", "a", "--target", "0.9", "b", "--target=0.8", "c")["runs"] == ["a", "b", "c"]
    assert parsed("compare", "--target=0.9", "0.8", "a")["target"] == [0.9, 0.8]


def test_a_run_folder_may_have_an_equals_sign(tmp_path):
    folder = tmp_path / "lr=0.1"
    folder.mkdir()
    assert run_and_overrides(["acquisition=bald", str(folder)]) == (str(folder), ["acquisition=bald"])


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["seed=1"], "run: expected a run folder, got none"),
        (["a", "b"], "overrides: expected KEY=VALUE, and one run folder, got 'b'"),
    ],
)
def test_rank_without_one_run(arguments, message):
    with pytest.raises(DalError, match=message):
        run_and_overrides(arguments)


@pytest.mark.parametrize(
    ("line", "sentence"),
    [
        ("compare --target abc runs", "--target: expected a share, such as 0.95, got 'abc'."),
        ("report runs --target nan", "--target: expected a share, such as 0.95, got 'nan'."),
        ("compare --vary", "--vary: expected a value, got none."),
        ("rank", "dal rank: expected RUN KEY=VALUE, got none. See dal rank --help."),
        ("rank runs --top 1.5", "--top: expected a whole number, got '1.5'."),
        ("label photos --port x", "--port: expected a whole number, got 'x'."),
        ("label photos --open=3", "--open: expected no value, got '3'."),
        ("ask run --size 1_0", "--size: expected a whole number, got '1_0'."),
        ("ask run --format jsnl", "--format: expected one of csv, jsonl, got 'jsnl' (did you mean jsonl?)."),
        ("tell run", "dal tell: expected FILE, got none. See dal tell --help."),
        ("tell run a.csv b.csv", "dal tell: expected only RUN FILE and options, got 'b.csv'."),
        ("replay run --to last", "--to: expected a whole number, got 'last'."),
        ("report --out x a", "dal report: expected one of --help, --output, --prices, --target, --x, got '--out' (did "
         "you mean --output?)."),
        ("tell -n", "dal tell: expected one of --annotator, --dry-run, --format, --help, got '-n'."),
        ("repot", "dal: expected one of ask, compare, explain, label, order, rank, replay, report, run, tell, got "
         "'repot' (did you mean report?)."),
        ("--vers", "dal: expected one of --help, --version, got '--vers' (did you mean --version?)."),
        ("", "dal: expected a command, one of run, rank, report, explain, order, compare, label, ask, tell, replay, "
         "got none. See dal --help."),
    ],
)  # fmt: skip
def test_what_cannot_be_parsed_is_one_sentence_and_exits_with_2(line, sentence, capsys):
    with pytest.raises(SystemExit) as caught:
        main(line.split())
    assert (caught.value.code, capsys.readouterr().err) == (2, f"Error: {sentence}\n")


def test_a_shortened_option_is_refused_and_negative_numbers_and_paths_are_not():
    with pytest.raises(DalError, match=r"got '--class' \(did you mean --classes\?\)"):
        parsed("label", "photos", "--class", "a,b")
    assert parsed("ask", "run", "--size=-1")["size"] == parsed("ask", "run", "--size", "-1")["size"] == -1
    assert parsed("compare", "--target", "1e-1", ".5", "-")["target"] == [0.1, 0.5]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["training.rewind=0.5", "--cfg", "job"], "training.rewind was removed because"),
        (["--cfg", "job", "seed=${nope}"], "seed: expected a defined value of the right type"),
        (["--cfg=job", "model.nope=1"], "model: expected one of"),
        (["-c", "job", "-m", "seed=1,2"], "-c: expected no --multirun on the same command line"),
    ],
)
def test_a_configuration_that_cannot_be_shown(arguments, message, capsys):
    with pytest.raises(SystemExit) as caught:
        main(["run", *arguments])
    assert caught.value.code == 2 and message in capsys.readouterr().err


def test_compare_takes_renamed_keys_under_their_old_names(monkeypatch):
    given = {}
    monkeypatch.setattr("dal.reports.comparison.compare", lambda *_, **options: given.update(options))
    with pytest.warns(UserWarning, match="is now called scoring.features_file"), pytest.raises(SystemExit):
        main(["compare", "runs", "--vary", "scoring.embeddings", "--across", "seed"])
    assert given["vary"] == ["scoring.features_file"] and given["across"] == ["seed"]


def test_rank_says_which_settings_it_ignores(recwarn):
    _warn_about_ignored(["acquisition=bald", "model.lr=5", "++training.max_updates=3", "model.dropout=0.1"])
    (warning,) = recwarn
    assert str(warning.message) == ("model.lr, training.max_updates: dal rank trains nothing and ignores this setting.")
    _warn_about_ignored(["acquisition=bald", "scoring.batch_size=8"])
    assert len(recwarn) == 1


@pytest.mark.parametrize("jobs", ["３", "0x3", "9" * 5000])
def test_jobs_is_a_whole_number_in_ascii_digits(jobs):
    with pytest.raises(DalError, match=r"^--jobs: expected the number of runs at a time"):
        run_command(["--multirun", "seed=0,1", "--jobs", jobs])


def test_an_unknown_launcher_is_refused_before_a_process_starts(tmp_path):
    with pytest.raises(DalError, match=r"^hydra/launcher: expected one of basic, .*got 'nope'"):
        run_command(["--multirun", "seed=0,1", "hydra/launcher=nope", f"run_dir={tmp_path}/r${{seed}}"])
    assert not list(tmp_path.iterdir())
