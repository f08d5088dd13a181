"""A page of `dal explain` in headless Chromium."""

import re
import shutil

from helpers.processes import wait_for

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")


class ExplainedPage:
    """A tab with a page, with what it requests and complains about."""

    def __init__(self, context, text, folder):
        file = folder / "report.html"
        file.write_text(text)
        self.tab = context.new_page()
        self.requests, self.complaints = [], []
        self.tab.on("request", lambda request: self.requests.append(request.url))
        self.tab.on("pageerror", lambda error: self.complaints.append(str(error)))
        self.tab.on("console", lambda message: self.complaints.append(message.text))
        self.tab.goto(file.as_uri())
        self.drawn()
        self.own = file.as_uri()

    def drawn(self, theme="light"):
        self.tab.wait_for_selector(f"body[data-drawn={theme}]", state="attached")

    def wait(self, expression):
        """Wait until an expression is true. The page's policy forbids Playwright's own way."""
        wait_for(lambda: self.tab.evaluate(expression))

    def text(self, selector):
        return self.tab.locator(selector).inner_text()

    def sections_without_content(self):
        """Ids of sections with neither a drawn figure nor a sentence, and of figures that are not drawn."""
        script = """() => [
          ...[...document.querySelectorAll("section")].filter((one) =>
            !one.querySelector("svg.main-svg") && !one.querySelector("p, li")),
          ...[...document.querySelectorAll(".figure")].filter((one) => !one.querySelector("svg.main-svg")),
        ].map((one) => one.id)"""
        return self.tab.evaluate(script)

    def overflow(self):
        """Pixels by which the page is wider than the window."""
        return self.tab.evaluate("document.documentElement.scrollWidth - document.documentElement.clientWidth")

    def cell(self, figure, row, column, rows, columns):
        """The place of a cell of a heat map with ``rows`` rows from the top."""
        box = self.tab.locator(f"#{figure} .nsewdrag").first.bounding_box()
        return (
            box["x"] + box["width"] * (column + 0.5) / columns,
            box["y"] + box["height"] * (row + 0.5) / rows,
        )

    def hover(self):
        """The text of the hover label, once it is there."""
        self.tab.wait_for_selector(".hoverlayer .hovertext", state="attached")
        return self.tab.locator(".hoverlayer .hovertext").first.text_content()

    def trace(self, figure, number, name):
        """A value of a trace that is drawn."""
        return self.tab.evaluate(f"document.getElementById('{figure}').data[{number}].{name}")

    def background(self):
        color = self.tab.evaluate("getComputedStyle(document.body).backgroundColor")
        return [int(part) for part in re.findall(r"\d+", color)]
