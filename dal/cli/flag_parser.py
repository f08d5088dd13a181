"""The flags of `dal run`, without Hydra, which takes seconds to import."""

from __future__ import annotations

from dal.cli.parser import Parser, one_of

_INFO = ("all", "config", "defaults", "defaults-tree", "plugins", "searchpath")


def flag_parser() -> Parser:
    """Return a parser of the flags of `dal run` and their values.

    >>> flag_parser().parse_args(["--cfg", "job"]).cfg
    'job'
    """
    parser = Parser(prog="dal run", add_help=False)
    parser.add_argument("--cfg", "-c", type=one_of("job", "hydra", "all"))
    parser.add_argument("--info", "-i", nargs="?", const="all", type=one_of(*_INFO))
    for name, short in (("package", "p"), ("config-name", "cn"), ("config-dir", "cd"), ("config-path", "cp")):
        parser.add_argument(f"--{name}", f"-{short}")
    for name, short in (("resolve", "rs"), ("run", "r"), ("multirun", "m"), ("hydra-help", "hh"), ("version", "v")):
        parser.add_argument(f"--{name}", *([f"-{short}"] if short in "rm" else []), action="store_true")
    parser.add_argument("--jobs", "-j")
    return parser
