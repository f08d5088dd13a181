"""Random streams of events, and a fold of them in obvious loops."""

from hypothesis import strategies as st

from dal.labeling.people.events import Answer, ClassChange

PEOPLE = ("ana", "bo", "cy")
NAMES = ("cat", "dog", "bird", "fish", "owl é")
PAID = ("label", "none", "unsure")


@st.composite
def streams(draw, most=40):
    """Valid events of three people on a few points, with undos of anything and changes of the classes."""
    events, ever = [], {"cat", "dog"}
    for seq in range(1, draw(st.integers(0, most)) + 1):
        person, event = draw(st.sampled_from(PEOPLE)), f"e{seq}"
        what = draw(st.sampled_from(["label", "label", "label", "answer", "undo", "undo", "class"]))
        own = [e.seq for e in events if isinstance(e, Answer) and e.annotator == person]
        if what == "undo" and own:
            target = events[draw(st.sampled_from(own)) - 1]
            events.append(Answer(seq, event, "undo", target.index, target.id, annotator=person, undoes=target.seq))
        elif what == "class":
            kind = draw(st.sampled_from(["add_class", "rename_class", "merge_class", "retire_class"]))
            name, to = draw(st.permutations(NAMES))[:2]
            events.append(
                ClassChange(
                    seq, event, kind, name, to if kind[:2] in ("re", "me") and kind != "retire_class" else None, person
                )
            )
            ever |= {name} if kind == "add_class" else {to} if kind == "rename_class" else set()
        else:
            index = draw(st.integers(0, 4))
            kind = "label" if what == "label" else draw(st.sampled_from(["none", "unsure", "skip", "unreadable"]))
            known = sorted(set(ever) & set(state(["cat", "dog"], events)["numbers"]))
            label = draw(st.sampled_from(known)) if kind == "label" else None
            seconds = draw(st.sampled_from([None, 0.5, 2.25, 3]))
            events.append(Answer(seq, event, kind, index, f'{index} "é\\.jpg', label, person, seconds=seconds))
    return events


def state(classes, events):
    """What a fold says of a stream, computed without any of its data structures."""
    numbers, names, offered, former, into = {}, list(classes), list(range(len(classes))), {}, {}
    given, undone, undo_of, last_undo = [], set(), {}, {}

    def number(name, late):
        for k in offered:
            if names[k] == name:
                return k
        return former.get(name) if late else None

    def retired(name):
        return next((k for k in range(len(names)) if names[k] == name and k not in offered and k not in into), None)

    def take(name):
        for k in into:
            if names[k] == name:
                names[k] = next(f"{name} ({i})" for i in range(1, 99) if f"{name} ({i})" not in names)

    for event in events:
        if isinstance(event, Answer) and event.kind == "undo":
            target = event.undoes
            root = undo_of.get(target, target)
            undo_of[event.seq] = root
            counts = target not in undone if target == root else last_undo.get(root) == target
            if counts:
                last_undo[root] = event.seq
                undone ^= {root}
        elif isinstance(event, Answer):
            given.append((event, None if event.label is None else number(event.label, late=True)))
        else:
            k, to = number(event.name, late=False), event.to and number(event.to, late=False)
            if event.kind == "add_class" and k is None:
                if retired(event.name) is not None:
                    offered.append(retired(event.name))
                else:
                    take(event.name)
                    offered.append(len(names))
                    names.append(event.name)
            elif event.kind == "rename_class" and k is not None and to is None and retired(event.to) is None:
                former[event.name] = k
                offered.remove(k)  # its own name is free
                take(event.to)
                names[k] = event.to
                offered.append(k)
            elif event.kind == "merge_class" and None not in (k, to) and k != to and len(offered) > 2:
                former[event.name], into[k] = k, to
                offered.remove(k)
            elif event.kind == "retire_class" and k is not None and len(offered) > 2:
                former[event.name] = k
                offered.remove(k)
    numbers = {name: number(name, late=True) for name in {*names, *former} if number(name, late=True) is not None}
    said = {}
    for point in {event.index for event, _ in given}:
        rows = []
        for person in PEOPLE:
            own = [(e, k) for e, k in given if (e.index, e.annotator) == (point, person) and e.seq not in undone]
            if own:
                e, k = own[-1]
                while k in into:
                    k = into[k]
                rows.append((person, e.kind, k, e.seq))
        said[point] = sorted(rows, key=lambda row: row[3])
    bought = sum(kind in PAID for rows in said.values() for _, kind, _, _ in rows)
    live = sum(e.seq not in undone for e, _ in given)
    corrected = live - sum(map(len, said.values()))
    decided = {point: decision(rows) for point, rows in said.items()}
    return {
        "names": names, "offered": [names[k] for k in sorted(offered)], "numbers": numbers, "said": said,
        "bought": bought, "corrected": corrected, "decided": decided,
    }  # fmt: skip


def decision(rows):
    votes = [(kind, label) for _, kind, label, _ in rows if kind in ("label", "none")]
    if votes:
        best = max(votes, key=lambda vote: (votes.count(vote), -votes.index(vote)))
        return (*best, votes.count(best) / len(votes))
    kinds = [kind for _, kind, _, _ in rows]
    return (next((kind for kind in ("unreadable", "unsure") if kind in kinds), "open"), None, 1.0)


def of_fold(fold):
    """The same of a fold."""
    said = {point: [(s.annotator, s.kind, s.label, s.seq) for s in fold.said(point)] for point in fold.points()}
    decided = {}
    for point in said:
        found = fold.decision(point)
        decided[point] = (found.status, found.label, found.agreement)
    former = {*fold.classes.names, *fold.classes._former}
    numbers = {name: fold.classes.resolved(name) for name in former if fold.classes.resolved(name) is not None}
    return {
        "names": fold.classes.names, "offered": fold.classes.offered, "numbers": numbers, "said": said,
        "bought": fold.bought, "corrected": fold.corrected, "decided": decided,
    }  # fmt: skip
