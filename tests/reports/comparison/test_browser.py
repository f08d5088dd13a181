"""The page of a comparison in headless Chromium."""

import pytest
from helpers.explained_page import CHROMIUM

from dal.analysis import read_run
from dal.analysis.pairing import pair_runs
from dal.reports.comparison.page import page

playwright = pytest.importorskip("playwright.sync_api", reason="needs the package playwright (the extra dev)")


@pytest.mark.skipif(CHROMIUM is None, reason="needs chromium on the PATH")
def test_the_browser_unpacks_the_figures_without_a_request(synthetic, tmp_path):
    runs = [
        read_run(synthetic.write_paired_run(tmp_path / name, [0.4, 0.6], acquisition=name))
        for name in ("random", "margin")
    ]
    file = tmp_path / "comparison.html"
    file.write_text(page(pair_runs(runs), [], [], "1"))
    complaints, requests = [], []
    with playwright.sync_playwright() as started:
        chromium = started.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        tab = chromium.new_page()
        tab.on("request", lambda request: requests.append(request.url))
        tab.on("pageerror", lambda error: complaints.append(str(error)))
        tab.on("console", lambda message: complaints.append(message.text))
        tab.goto(file.as_uri())
        tab.wait_for_selector("#figure0 .scatterlayer .trace", state="attached", timeout=20_000)
        assert tab.locator("#figure0 .legendtext").all_text_contents() == ["margin", "random"]
        assert requests == [file.as_uri()] and complaints == []
        chromium.close()
