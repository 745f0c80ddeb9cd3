"""``python -m ogacli`` is ``oga``."""

from ogacli.cli import main

if __name__ == "__main__":
    main()
