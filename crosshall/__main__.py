"""`python -m crosshall` is the command `crosshall`."""

from crosshall.main import main

if __name__ == "__main__":
    main()
