"""`python -m evo.cli`: the command line where the script is not on the path."""

from evo.cli import main

main()
