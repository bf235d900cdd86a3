"""``python -m torch_heads COMMAND``: ``fit`` and its like from a configuration, and bundles."""

import sys
from importlib.util import find_spec

BUNDLES = ("show", "run", "serve")


def main() -> None:
    """Run the command line, or say what it needs."""
    bundles = sys.argv[1:2] and sys.argv[1] in BUNDLES
    needed, extra = (
        (("onnx", "onnxruntime", "rich", "starlette", "uvicorn"), "serve")
        if bundles
        else (("lightning", "jsonargparse"), "lightning")
    )
    missing = [name for name in needed if find_spec(name) is None]
    if missing:
        sys.exit(
            f"python -m torch_heads needs {' and '.join(missing)}:"
            f" pip install 'torch-heads[{extra}]'"
        )
    if bundles:
        from torch_heads.integrations.serving.cli import main as run_bundles

        run_bundles()
    else:
        from torch_heads.integrations.lightning.cli import main as run

        run()


if __name__ == "__main__":
    main()
