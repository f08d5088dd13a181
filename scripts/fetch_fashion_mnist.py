"""Download Fashion-MNIST (30 MB) with torchvision.

    python scripts/fetch_fashion_mnist.py [FOLDER]

Without a network, install the Debian package dataset-fashion-mnist; dal finds its files.
"""

import argparse
import shlex
import sys

from dal.data.sets.fashion_mnist import DEFAULT_ROOT, FashionMNIST
from dal.errors import DalError


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", nargs="?", default=DEFAULT_ROOT, metavar="FOLDER", help="(default: %(default)s)")
    folder = parser.parse_args().folder
    try:
        train, test = FashionMNIST(root=folder, download=True).read()
    except DalError as error:
        print(f"Error: {error}", file=sys.stderr)
        return 2
    assert test is not None
    command = ["dal", "run", "experiment=fashion_mnist", *([] if folder == DEFAULT_ROOT else [f"data.root={folder}"])]
    print(f"{len(train):,} training and {len(test):,} test images. Next: {shlex.join(command)}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
