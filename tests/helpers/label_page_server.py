"""A page server in a process of its own, which a test can kill: label_page_server.py FOLDER PORT."""

import sys
import threading
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

from helpers.label_page import Site, lines_of


def main():
    folder, port = Path(sys.argv[1]), int(sys.argv[2])
    names = sorted(path.name for path in (folder / "images").iterdir())
    with Site(folder / "run", folder / "images", names, lines_of(names)).serve(port=port) as server:
        print(server.url, flush=True)
        threading.Event().wait()


if __name__ == "__main__":
    main()
