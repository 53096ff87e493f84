"""`python -m mdpipe.cli` is the same as `mdpipe`."""

from mdpipe.cli import main

main()
