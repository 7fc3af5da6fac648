"""Start a worker: `python -I ENGINE_COPY/engine [--limits JSON] [--threads N]`; speaks `engine.protocol`."""

import sys
from pathlib import Path


def main() -> None:
    """Put the copy's folder on the path (isolated mode does not) and run the worker."""
    root = str(Path(__file__).resolve().parents[1])
    if root not in sys.path:
        sys.path.insert(0, root)
    # a script's own folder must not shadow the standard library (`code.py` and others)
    sys.path[:] = [
        entry for entry in sys.path if Path(entry or ".").resolve() != Path(__file__).resolve().parent
    ]
    from engine.worker import main as run

    run(sys.argv[1:])


if __name__ == "__main__":
    main()
