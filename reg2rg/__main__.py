"""`python -m reg2rg` and the `reg2rg` command are the same program."""

from __future__ import annotations


def main() -> None:
    """Runs the command line."""
    from .cli.app import run

    run()


if __name__ == "__main__":
    main()
