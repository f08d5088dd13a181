"""The arguments of the commands for people who label."""

from __future__ import annotations

from typing import Any

from dal.cli.parser import one_of, whole_number


def add_people(commands: Any) -> None:
    """Add `dal label`, `dal ask`, `dal tell` and `dal replay` to the subparsers."""
    label = commands.add_parser("label", help="label images on a page while a model trains and chooses the next ones")
    label.usage = "dal label FOLDER --classes NAME,NAME,... [KEY=VALUE ...] [options], or dal label RUN [options]"
    label.add_argument(
        "paths",
        nargs="+",
        metavar="FOLDER KEY=VALUE",
        help="a folder of images or a run folder; settings of a new run (see dal run --help experiment=label)",
    )
    label.add_argument(
        "--classes", metavar="NAME,NAME", help="class names of a new run (to change them later, use the page)"
    )
    label.add_argument(
        "--annotator", metavar="NAME", help="your name, in the address of the page (default: the page asks)"
    )
    label.add_argument("--port", type=whole_number, default=0, help="port of the page (default: a free one)")
    label.add_argument(
        "--host",
        default="127.0.0.1",
        help="address to listen on (default: 127.0.0.1; other machines need --token-file)",
    )
    label.add_argument("--token-file", metavar="FILE", help="file with the token that opens the page from other hosts")
    label.add_argument(
        "--server-name", action="append", default=[], metavar="NAME", help="host name of a proxy or of this machine"
    )
    label.add_argument("--open", action="store_true", help="open the page in the browser")
    label.add_argument("--no-train", action="store_true", help="only record answers, and train no model")
    ask = commands.add_parser("ask", help="list the images that people are asked to label, best first")
    ask.add_argument("run", metavar="RUN", help="run folder")
    ask.add_argument("--size", type=whole_number, metavar="N", help="write only the first N images")
    ask.add_argument(
        "--format", type=one_of("csv", "jsonl"), default="csv", metavar="{csv,jsonl}", help="file format (default: csv)"
    )
    ask.add_argument("--output", metavar="FILE", help="output file (default: standard output)")
    ask.add_argument(
        "--files", metavar="FOLDER", help="write the pixels of the images or regions, whose masks people draw"
    )
    tell = commands.add_parser("tell", help="record the answers in a file, all or none of them")
    tell.add_argument("run", metavar="RUN", help="run folder")
    tell.add_argument("file", metavar="FILE", help="CSV or JSONL with id and label, or a folder of dal ask --files")
    tell.add_argument(
        "--annotator",
        default="me",
        metavar="NAME",
        help="who answers, if the file has no column annotator (default: me)",
    )
    tell.add_argument(
        "--format",
        type=one_of("auto", "csv", "jsonl"),
        default="auto",
        metavar="{auto,csv,jsonl}",
        help="file format (default: auto)",
    )
    tell.add_argument("--dry-run", action="store_true", help="check the file and record nothing")
    replay = commands.add_parser("replay", help="repeat the picks and weights of a run with people, and compare them")
    replay.add_argument("run", metavar="RUN", help="run folder")
    replay.add_argument("--to", type=whole_number, metavar="ROUND", help="last round to replay (default: all)")
