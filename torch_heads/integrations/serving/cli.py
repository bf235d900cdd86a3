"""The command line of bundles: ``show``, ``run`` and ``serve``."""

from __future__ import annotations

import argparse
import gc
import sys
from collections.abc import Sequence

from torch_heads.integrations.serving.bundle import Bundle
from torch_heads.integrations.serving.runner import BATCH, predict_file
from torch_heads.integrations.serving.server import MOST, serve
from torch_heads.integrations.serving.show import show

INTERRUPTED = 130  # the exit status after Ctrl-C, as shells have it: 128 and the signal's number


def main(arguments: Sequence[str] | None = None) -> None:
    """Run a command; end with what is wrong, if anything is, in one line."""
    given = _parser().parse_args(arguments)
    try:
        if given.command == "show":
            show(Bundle.load(given.path))
        elif given.command == "serve":
            serve(given.path, given.host, given.port, given.max_body)
        else:
            outputs = given.outputs.split(",") if given.outputs else None
            bundle = Bundle.load(given.path, spinning=False)
            gc.freeze()  # or all that is imported is looked through, as rows come and go
            predict_file(
                bundle, given.input, given.output, given.signature, outputs, given.batch_size
            )
    except KeyboardInterrupt:
        sys.exit(INTERRUPTED)
    except (ValueError, OSError, KeyError) as error:
        sys.exit(str(error.args[0] if isinstance(error, KeyError) else error))


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser("python -m torch_heads", description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True)
    for name, about in {
        "show": "print what a bundle takes and answers",
        "run": "predict the rows of a file",
        "serve": "answer clients over HTTP",
    }.items():
        command = commands.add_parser(name, help=about, description=about)
        where = "a bundle" if name != "serve" else "a bundle, or a folder of models or versions"
        command.add_argument("path", help=where)
        if name == "run":
            command.add_argument("--input", required=True, help="a file of .jsonl or .csv")
            command.add_argument("--output", required=True, help="a file of .jsonl or .csv")
            command.add_argument("--signature", default="predict", help="by default %(default)s")
            command.add_argument("--outputs", help="predictions by name, with commas between them")
            command.add_argument("--batch-size", type=int, default=BATCH, help="in rows")
        if name == "serve":
            command.add_argument("--host", default="127.0.0.1", help="by default %(default)s")
            command.add_argument("--port", type=int, default=8501, help="0 for any that is free")
            command.add_argument("--max-body", type=int, default=MOST, help="bytes of a request")
    return parser
