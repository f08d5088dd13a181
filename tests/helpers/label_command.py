"""`dal label` as a person uses it: in this process with a client beside it, or as a process."""

import os
import signal
import threading
from types import SimpleNamespace

import pytest
from PIL import Image

from dal.cli.main import main
from helpers.label_page import Client
from helpers.processes import Process, wait_for

SMALL = [
    "model.backbone=small_cnn",
    "data.image_size=16",
    "training.min_updates=2",
    "training.max_updates=4",
    "training.check_every=2",
    "campaign.initial_size=6",
    "campaign.query_size=4",
    "campaign.budget=16",
]


def make_photos(root, count=24):
    """Write images of two classes, which their names tell."""
    root.mkdir()
    for number in range(count):
        name = ("cat", "dog")[number % 2]
        Image.new("RGB", (20, 20), ((200, 40, number), (40, 200, number))[number % 2]).save(
            root / f"{number:02}-{name}.png"
        )
    return root


def call(capsys, *arguments):
    """(exit status, output, errors) of a command that ends."""
    with pytest.raises(SystemExit) as caught:
        main([str(argument) for argument in arguments])
    printed = capsys.readouterr()
    assert "Traceback" not in printed.err
    return caught.value.code or 0, printed.out, printed.err


def beside(capsys, monkeypatch, work, *arguments, number=signal.SIGINT):
    """Call work(client) while the page is up, then send the signal. Return what call() returns."""
    failed = []

    def opened(address):
        """Stand for the browser of --open."""
        threading.Thread(target=browse, args=(address,)).start()

    def browse(address):
        try:
            work(client_of(address))
        except BaseException as error:  # noqa: BLE001
            failed.append(error)
        finally:
            os.kill(os.getpid(), number)

    monkeypatch.setattr("webbrowser.open", opened)
    found = call(capsys, "label", *arguments, "--open")
    if failed:
        raise failed[0]
    return found


def client_of(address, annotator="ana", tab="tab1"):
    """A client for an address that dal label prints."""
    port, token = int(address.partition("//")[2].split("/")[0].split(":")[-1]), address.partition("token=")[2]
    token = token.partition("&")[0]
    gate = SimpleNamespace(cookie_header=lambda: f"dal-{port}={token}; HttpOnly")
    return Client(SimpleNamespace(port=port, gate=gate), annotator, tab)


def answer_all(client, most=1000, name=None):
    """Answer what the page wants, with the class in the name of each image or name(index, id). Return the items."""
    done = []
    while len(done) < most:
        _, found = client.lease(min(8, most - len(done)))
        if not found["items"]:
            break
        for item in found["items"]:
            label = name(item) if name else item["id"].rpartition("-")[2].partition(".")[0]
            draft = {"event": f"{client.annotator}-{item['index']}-{item['ask']}", "kind": "label", "label": label}
            status, told = client.answer({**draft, "index": item["index"], "ask": item["ask"]})
            assert status == 200, told
            done.append(item)
    return done


class Labeling(Process):
    """A process of dal label."""

    def __init__(self, *arguments, **options):
        super().__init__(["-m", "dal", "label", *arguments], **options)

    def address(self):
        wait_for(lambda: "Label at " in self.output()[0] or self.returncode is not None)
        output, errors = self.output()
        assert "Label at " in output, errors
        return output.partition("Label at ")[2].split()[0]
