"""Small run folders whose labels people gave."""

import json

from dal.labeling.people.answers import Answers
from helpers.synthetic_runs import write_run

CLASSES = ("cat", "dog")


def write_people_run(path, accuracies, answers=(), *, num_test=0, seconds=None, more=None, **options):
    """write_run() with a journal of ``answers``: drafts, which get an index by their place unless they have one. A None
    among the accuracies is a round whose test set had no label yet. ``more`` gives more keys of a round."""
    known = [0.0 if accuracy is None else accuracy for accuracy in accuracies]

    def extra(i):
        row = {"answers_seq": len(answers)} | (more(i) if more else {})
        if seconds is not None:
            row["annotator_seconds"] = seconds[i]
        return row | ({"num_test": num_test} if num_test else {})

    write_run(path, known, extra=extra, oracle__kind="people", **options)
    rows = [json.loads(line) for line in (path / "rounds.jsonl").read_text().splitlines()]
    for row, accuracy in zip(rows, accuracies, strict=True):
        del row["test_confusion_matrix"], row["test_recall"]
        if accuracy is None:
            del row["test_accuracy"]
    text = "".join(json.dumps(row) + "\n" for row in rows)
    (path / "rounds.jsonl").write_text(text)
    state = json.loads((path / "state.json").read_text())
    state["bytes"]["rounds.jsonl"] = len(text.encode())
    (path / "state.json").write_text(json.dumps(state))
    (path / "data.json").write_text(json.dumps({"classes": list(CLASSES)}))
    journal = Answers(path, CLASSES)
    for i, answer in enumerate(answers):
        numbered = {"index": i, "id": f"{i}.jpg"} if not answer["kind"].endswith("_class") else {}
        if "index" in answer:
            numbered["id"] = f"{answer['index']}.jpg"
        journal.record(numbered | answer)
    return path


def label(name, annotator="ana", **more):
    return {"kind": "label", "label": name, "annotator": annotator, **more}
