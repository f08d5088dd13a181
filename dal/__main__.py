"""python -m dal."""

from dal.cli import main

if __name__ == "__main__":
    main()
