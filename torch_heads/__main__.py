"""``python -m torch_heads fit --config FILE``: train, evaluate and predict from a configuration."""

import sys
from importlib.util import find_spec


def main() -> None:
    """Run the command line, or say what it needs."""
    missing = [name for name in ("lightning", "jsonargparse") if find_spec(name) is None]
    if missing:
        sys.exit(
            f"python -m torch_heads needs {' and '.join(missing)}:"
            " pip install 'torch-heads[lightning]'"
        )
    from torch_heads.integrations.lightning.cli import main as run

    run()


if __name__ == "__main__":
    main()
