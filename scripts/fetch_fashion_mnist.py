"""Download Fashion-MNIST (30 MB) with torchvision.

    python scripts/fetch_fashion_mnist.py [FOLDER]

Without a network, install the Debian package dataset-fashion-mnist; dal finds its files.
"""

import sys

from dal.data.sets.fashion_mnist import FashionMNIST
from dal.errors import DalError


def main() -> int:
    config = FashionMNIST(download=True)
    if len(sys.argv) > 1:
        config.root = sys.argv[1]
    try:
        train, test = config.read()
    except DalError as error:
        print(f"Error: {error}", file=sys.stderr)
        return 2
    assert test is not None
    print(f"{len(train):,} training and {len(test):,} test images. Next: dal run experiment=fashion_mnist")
    return 0


if __name__ == "__main__":
    sys.exit(main())
