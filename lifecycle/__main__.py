"""`python -m lifecycle` is `vlm`."""

from lifecycle.cli.main import main

main()
