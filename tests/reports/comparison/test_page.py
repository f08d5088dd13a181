"""What the page holds; how it looks was looked at in a browser."""

import json
import re
from html.parser import HTMLParser

import numpy as np
import pytest
import scipy.stats

from dal.analysis import read_run
from dal.analysis.pairing import pair_runs
from dal.reports.comparison.page import page
from dal.reports.comparison.tables import Table
from dal.reports.offline.packed import packed_plotly

NAMES = ["random", *(f"function_{i}" for i in range(14))]


@pytest.fixture
def problem_of(synthetic, tmp_path):
    def build(curves, labels=None, data="digits"):
        runs = [
            read_run(
                synthetic.write_paired_run(
                    tmp_path / re.sub(r"\W", "", name) / str(s), row, acquisition=name, seed=s, labels=labels, data=data
                )
            )
            for name, rows in curves.items()
            for s, row in enumerate(rows)
        ]
        return pair_runs(runs)[0]

    return build


def figures_of(text):
    return json.loads(re.search(r"^const figures = (.*);$", text, flags=re.MULTILINE)[1].replace("<\\/", "</"))


class Loads(HTMLParser):
    """Everything that a browser would fetch, the depth of the tags, and the text outside of scripts."""

    def __init__(self, text):
        super().__init__()
        self.fetched, self.open, self.text = [], [], ""
        self.feed(text)

    def handle_starttag(self, tag, attributes):
        self.fetched += [value for name, value in attributes if name in ("src", "href", "srcset", "data")]
        if tag not in ("meta", "link"):
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        if self.open[-1:] != ["script"]:
            self.text += data


def test_lines_bands_and_hover_are_the_numbers_of_the_runs(problem_of):
    values = np.array([[0.4, 0.6], [0.5, 0.7], [0.45, 0.62]])
    problem = problem_of({"random": values.tolist(), "margin": (values + 0.1).tolist()}, labels=[10, 25])
    ((figure),) = figures_of(page([problem], [], [], "1"))
    band, line = (t for t in figure["data"] if t["legendgroup"] == "random")
    assert (line["name"], line["x"], line["y"]) == ("random", [10, 25], pytest.approx(100 * values.mean(0), abs=1e-3))
    low, high = scipy.stats.t.interval(0.95, 2, loc=values.mean(0), scale=scipy.stats.sem(values))
    assert band["x"] == [10, 25, 25, 10] and band["fill"] == "toself" and not band["showlegend"]
    assert band["y"] == pytest.approx([100 * high[0], 100 * high[1], 100 * low[1], 100 * low[0]], abs=1e-3)
    assert line["customdata"][0] == f" ± {100 * (high[0] - low[0]) / 2:.1f}"
    buttons = figure["layout"]["updatemenus"][0]["buttons"]
    assert [button["args"][0]["xaxis.type"] for button in buttons] == ["linear", "log"]
    assert buttons[1]["args"][0]["xaxis.tickvals"] == [10, 20]


def test_bands_wider_than_the_curves_do_not_flatten_them(problem_of):
    """Two seeds that are far apart: their interval goes far beyond 0 and 100 %."""
    problem = problem_of({"random": [[0.2, 0.3], [0.6, 0.9]], "margin": [[0.3, 0.4], [0.6, 0.9]]})
    (figure,) = figures_of(page([problem], [], [], "1"))
    assert max(figure["data"][0]["y"]) > 150
    assert figure["layout"]["yaxis"]["range"] == pytest.approx([20 - 70 / 4, 101])


def test_one_seed_has_no_band(problem_of):
    text = page([problem_of({"random": [[0.4, 0.6]], "margin": [[0.4, 0.7]]})], [], [], "1")
    (figure,) = figures_of(text)
    assert "Mean over 1 seed." in Loads(text).text
    assert len(figure["data"]) == 2 and all("fill" not in trace for trace in figure["data"])


def test_fifteen_functions_are_told_apart_by_line_and_by_marker(problem_of):
    problem = problem_of({name: [[0.4, 0.6], [0.4, 0.7]] for name in NAMES})
    (figure,) = figures_of(page([problem], [], [], "1"))
    lines = [trace for trace in figure["data"] if "marker" in trace]
    assert len({(t["line"]["color"], t["line"]["dash"]) for t in lines}) == 15
    assert len({(t["line"]["color"], t["marker"]["symbol"]) for t in lines}) == 15


def test_the_page_is_whole_and_loads_nothing(problem_of):
    problem = problem_of({"random": [[0.4, 0.6]], "margin": [[0.4, 0.7]]})
    table = Table("penalty", "A title", ("beats", "1"), (("1 margin", "0.50"),), "A caption.", heat=((0.5,),))
    text = page([problem], [table], ["A finding."], "0.9")
    parsed = Loads(text)
    assert parsed.open == []
    assert [url for url in parsed.fetched if not url.startswith("data:")] == []
    assert 1_000_000 < len(text) < 2_200_000 and packed_plotly() in text  # the library itself, compressed
    for part in ("A finding.", "A title", "A caption.", "0.50", "dal 0.9", "One seed: no intervals and no tests."):
        assert part in parsed.text
    assert 'style="background: rgba(0, 114, 178, 0.300)"' in text


def test_hostile_and_foreign_names_are_text(problem_of):
    evil = "</script><b>x"
    curves = {"random": [[0.4, 0.6]], evil: [[0.4, 0.7]]}
    problem = problem_of(curves, data="手書き <数字>")
    text = page([problem], [Table("functions", evil, (evil,), ((evil,),), evil)], [evil], "1")
    assert text.count("</script>") == 2 and text.count("<script>") == 1 and "<b>" not in text.split("<script>")[0]
    assert "手書き <数字>" in Loads(text).text
    (figure,) = figures_of(text)
    assert {t["name"] for t in figure["data"]} == {"random", "&lt;/script&gt;&lt;b&gt;x"}  # Plotly reads some HTML
