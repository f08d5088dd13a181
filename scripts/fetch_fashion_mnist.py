"""Download Fashion-MNIST (30 MB) with torchvision.

    python scripts/fetch_fashion_mnist.py [FOLDER]

Without a network, install the Debian package dataset-fashion-mnist; dal finds its files.
"""

import argparse
import sys

from dal.data.sets.fashion_mnist import DEFAULT_ROOT, FashionMNIST
from dal.errors import DalError


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", nargs="?", default=DEFAULT_ROOT, metavar="FOLDER", help="(default: %(default)s)")
    try:
        train, test = FashionMNIST(root=parser.parse_args().folder, download=True).read()
    except DalError as error:
        print(f"Error: {error}", file=sys.stderr)
        return 2
    assert test is not None
    print(f"{len(train):,} training and {len(test):,} test images. Next: dal run experiment=fashion_mnist")
    return 0


if __name__ == "__main__":
    sys.exit(main())
