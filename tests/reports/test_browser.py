"""The pages of `dal explain` and `dal compare` in headless Chromium, driven as a person does."""

import numpy as np
import pytest
from helpers.detections import detected_of
from helpers.explained_page import CHROMIUM, ExplainedPage
from helpers.histories import history_of, journal_alone
from helpers.processes import HANG_SECONDS

from dal.analysis import read_run
from dal.analysis.pairing import pair_runs
from dal.reports.comparison.page import page as comparison_page
from dal.reports.explanation.facts import Facts
from dal.reports.explanation.page import page

playwright = pytest.importorskip("playwright.sync_api", reason="needs the package playwright (the extra dev)")
pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="needs chromium on the PATH")

EVIL = ["</script><b id=evil>x", "<img src=x onerror=alert(1)>", "$a$ %{x} " + "long " * 20]


@pytest.fixture(scope="module")
def browser():
    with playwright.sync_playwright() as started:
        chromium = started.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield chromium
        chromium.close()


@pytest.fixture
def open_page(browser, tmp_path):
    contexts = []

    def build(history, images=None, width=1400, bare=False):
        tested = history.tested.sum(1)
        curve = np.divide(history.right.sum(1), tested, out=np.full(len(tested), np.nan), where=tested > 0)
        facts = Facts("runs/x", "digits", "margin", 0, True, history.labels_bought.tolist(), curve)
        detected = [] if bare else detected_of(history)
        context = browser.new_context(viewport={"width": width, "height": 900}, reduced_motion="reduce")
        context.set_default_timeout(HANG_SECONDS * 1000)
        contexts.append(context)
        return ExplainedPage(context, page(history, detected, facts, images), tmp_path)

    yield build
    for context in contexts:
        context.close()


def image_of(split, index):
    return np.full((8, 8), index % 256, np.uint8)


def assert_is_whole(tab):
    assert tab.sections_without_content() == [] and tab.overflow() <= 0
    assert tab.requests == [tab.own] and tab.complaints == []


def test_a_person_reads_ten_classes_with_mouse_and_keyboard(open_page):
    history = history_of(rounds=6, test=20)
    tab = open_page(history, image_of)
    assert_is_whole(tab)

    # Hovering over a cell says the counts.
    names = tab.tab.evaluate("document.getElementById('recall').layout.yaxis.ticktext")
    number = int(names[-1].split()[1])
    tab.tab.locator("#recall").scroll_into_view_if_needed()
    tab.tab.mouse.move(*tab.cell("recall", 0, 3, 10, 6))
    right = int(history.right[3, history.of_class(number)].sum())
    assert f"{right} of 20 right" in tab.hover()

    # The slider goes to an older round, with the keyboard.
    tab.tab.locator("#matrix-round").focus()
    tab.tab.keyboard.press("Home")
    labels = history.labels_bought[0]
    assert tab.text("#matrix-said") == f"round 0, {labels} labels"
    counts = np.zeros((10, 10), int)
    np.add.at(counts, (history.test_label, history.test_predicted[0]), 1)
    assert np.allclose(tab.trace("matrix", 0, "z"), counts / 20 * 100)

    # A click on a cell shows its images.
    off = counts * (1 - np.eye(10, dtype=int))
    i, j = np.unravel_index(off.argmax(), off.shape)
    tab.tab.locator("#matrix").scroll_into_view_if_needed()
    tab.tab.mouse.click(*tab.cell("matrix", i, j, 10, 10))
    tab.tab.wait_for_selector(f"#matrix-images b:text-is('class {j}')")
    assert f"{counts[i, j]} of 20 images of class {i} are called class {j}." in tab.text("#matrix-images")
    assert tab.tab.locator("#matrix-images .confusion-thumb").count() == min(6, counts[i, j])

    # The lists choose a cell without a mouse.
    tab.tab.locator("#matrix-predicted").select_option(str(i))
    assert f"images of class {i} are called class {i}" in tab.text("#matrix-images")

    # The difference draws cells pale if their interval of the change contains 0.
    tab.tab.locator("#matrix-other").select_option("5")
    pale, clear = (np.array(tab.trace("matrix", layer, "z"), float) for layer in (0, 1))
    assert np.array_equal(np.isnan(pale), ~np.isnan(clear))
    change, half = interval_of_change(history, 5, 0)
    assert np.array_equal(~np.isnan(clear), np.abs(change) > half)
    assert tab.trace("matrix", 0, "opacity") < 0.4

    # A key hides a trace, and a dot of the map shows its image.
    key = tab.tab.locator("#bought").locator("xpath=preceding-sibling::*[1]").locator("button").first
    key.click()
    tab.wait("document.getElementById('bought').data[0].visible === false")
    dot = tab.tab.locator("#map .point").first
    dot.scroll_into_view_if_needed()
    box = dot.bounding_box()
    tab.tab.mouse.move(box["x"] + box["width"] / 2, box["y"] + box["height"] / 2)
    tab.tab.wait_for_selector("#map-image .item")

    # Dark, and then narrow.
    assert min(tab.background()) > 240
    tab.tab.emulate_media(color_scheme="dark")
    tab.drawn("dark")
    assert max(tab.background()) < 40
    tab.tab.set_viewport_size({"width": 390, "height": 800})
    tab.wait("[...document.querySelectorAll('svg.main-svg')].every((one) => one.clientWidth < 390)")
    assert_is_whole(tab)


def interval_of_change(history, before, now):
    """The middle and half the length of the interval of each cell's change, by a loop (Agresti and Min 2005)."""
    change, half = np.zeros((2, 10, 10))
    for i, j in np.ndindex(10, 10):
        own = history.test_label == i
        was, is_now = (history.test_predicted[at, own] == j for at in (before, now))
        gains, losses, total = (is_now & ~was).sum(), (was & ~is_now).sum(), own.sum() + 2
        change[i, j] = (gains - losses) / total
        half[i, j] = 1.959964 * np.sqrt(((gains + losses + 1) / total - change[i, j] ** 2) / total)
    return change, half


def test_a_round_without_records_has_counts_and_the_interval_of_two_samples(open_page):
    history = journal_alone(history_of(rounds=3, classes=3, test=20, lost={0: 1}, layers=0, checks=False), [1])
    tab = open_page(history, bare=True)
    assert_is_whole(tab)
    tab.tab.locator("#matrix-round").fill("1")
    counts = history.confusion[1]
    assert np.array_equal(tab.trace("matrix", 0, "z"), 100 * counts / 20)
    tab.tab.locator("#matrix-other").select_option("0")
    was, now = (history.confusion[0] + 1) / 22, (counts + 1) / 22
    half = 1.959964 * np.sqrt((was * (1 - was) + now * (1 - now)) / 22)
    pale, clear = (np.array(tab.trace("matrix", at, "z"), float) for at in (0, 1))
    is_clear = np.abs(now - was) > half
    assert is_clear.any() and not is_clear.all()
    assert (np.isnan(pale) == is_clear).all() and (np.isnan(clear) == ~is_clear).all()
    change = 100 * (counts - history.confusion[0]) / 20
    assert np.allclose(np.where(is_clear, clear, pale), change)
    wrong = next((i, j) for i, j in np.ndindex(3, 3) if i != j and counts[i, j])
    for name, at in zip(("true", "predicted"), wrong, strict=True):
        tab.tab.locator(f"#matrix-{name}").select_option(str(at))
    assert tab.text("#matrix-images").endswith("The run has no record of which ones.")


def test_a_hundred_classes_and_names_with_markup(open_page):
    history = history_of(
        classes=100, rounds=2, test=4, query=300, layers=0, names=[*EVIL, *map(str, range(97))], checks=False
    )
    tab = open_page(history)
    assert_is_whole(tab)
    assert tab.tab.locator("#evil").count() == 0 and tab.tab.locator("main img").count() == 0
    shown = tab.tab.locator("#matrix .yaxislayer-above text").all_text_contents()
    assert len(shown) == 50 and EVIL[0] in shown and any(text.startswith("$a$ %{x} long") for text in shown)


def test_two_classes_without_a_test_set_on_a_telephone(open_page):
    assert_is_whole(open_page(history_of(classes=2, rounds=2, test=0, checks=False), width=390, bare=True))


def test_the_page_of_a_comparison_unpacks_its_figures_without_a_request(browser, synthetic, tmp_path):
    runs = [
        read_run(synthetic.write_paired_run(tmp_path / name, [0.4, 0.6], acquisition=name))
        for name in ("random", "margin")
    ]
    file = tmp_path / "comparison.html"
    file.write_text(comparison_page(pair_runs(runs), [], [], "1"))
    complaints, requests = [], []
    tab = browser.new_page()
    tab.on("request", lambda request: requests.append(request.url))
    tab.on("pageerror", lambda error: complaints.append(str(error)))
    tab.on("console", lambda message: complaints.append(message.text))
    tab.goto(file.as_uri())
    tab.wait_for_selector("#figure0 .scatterlayer .trace", state="attached", timeout=HANG_SECONDS * 1000)
    playwright.expect(tab.locator("#figure0 .legendtext")).to_have_text(
        ["margin", "random"], timeout=HANG_SECONDS * 1000
    )
    assert requests == [file.as_uri()] and complaints == []
