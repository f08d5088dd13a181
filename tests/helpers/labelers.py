"""People who answer what a run asks, from the labels of its data set."""

from dal.errors import WaitingForAnswers
from dal.labeling.people.answers import Answers
from dal.labeling.people.wanted import wanted
from dal.runs.asked import read_asked


class Labelers:
    """Answers for the points that the run in a folder wants, with the right classes."""

    def __init__(self, folder, data, annotator="ana", classes=None):
        self.folder, self.data, self.annotator = folder, data, annotator
        self.answers = Answers(folder, classes or data.classes)

    def wanted(self):
        self.answers.refresh()
        return wanted(read_asked(self.folder), self.answers.fold)

    def answer(self, count=None, kind="label", lines=None, **values):
        """Answer the first ``count`` wanted points, or all, and return them."""
        lines = (self.wanted() if lines is None else lines)[:count]
        self.answers.record_all([self.draft(line, kind, **values) for line in lines])
        return lines

    def draft(self, line, kind="label", **values):
        label = self.data.classes[int(self.data.labels[line.index])] if kind == "label" else None
        return {
            "kind": kind,
            "index": line.index,
            "id": line.id,
            "label": label,
            "annotator": self.annotator,
            "ask": line.ask,
            "seconds": 2.0,
        } | values

    def label(self, index, name, **values):
        """Give a point a label, asked for or not."""
        draft = {"kind": "label", "index": index, "id": self.data.ids[index], "label": name}
        return self.answers.record({**draft, "annotator": self.annotator, **values})

    def change(self, kind, name, to=None):
        draft = {"kind": kind, "name": name, "annotator": self.annotator}
        return self.answers.record(draft if to is None else {**draft, "to": to})


def until_done(start, labelers, most=50):
    """Start a run again and again, answer all that it waits for, and return its rows."""
    for _ in range(most):
        try:
            return start()
        except WaitingForAnswers:
            assert labelers.answer(), "a run that waits wants something"
    raise AssertionError(f"not done after {most} starts")
