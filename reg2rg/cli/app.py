"""The command line: a lazy group, so that `--help` and listings import no heavy library.

Each command is one file of this folder with a function `command` (or a Typer `app`); its line of help stands here so that
the overview needs none of them.
"""

from __future__ import annotations

import atexit
import importlib
import logging
import os
import sys
import warnings
from typing import Any

import typer
from typer.core import TyperCommand, TyperGroup

from ..errors import EXIT_FAILED, EXIT_USAGE, UserError, suggest

COMMANDS: dict[str, str] = {
    "demo": "Phantom → preprocess → train → generate → evaluate → page, in minutes, without downloads.",
    "phantom": "Write a procedural chest-CT data set whose truth is known.",
    "preprocess": "Turn any CT source into a segmented store.",
    "inspect": "Describe a volume, study, store, run or reports file.",
    "pretrain": "Train a volume encoder on finding labels, to be frozen by train.",
    "train": "Train a recipe on a store.",
    "convert": "Turn published weights into ours, and back.",
    "generate": "Write grounded reports for a split of a store.",
    "report": "One scan (file or DICOM folder) → report text, JSON and page.",
    "evaluate": "Score a reports file.",
    "ground": "Whether each section follows its own region, by intervention.",
    "label": "The 18 finding labels of each report text.",
    "split": "Whole reports → region sentences, by a splitter.",
    "bench": "Train and compare methods and ablations.",
    "view": "The grounded page of a study, a reports file or a bench.",
    "plugins": "What is installed, from which package; conformance; scaffold.",
    "recipes": "List, resolve, copy and check recipes.",
    "doctor": "Versions, devices, plugins, and what is missing for what.",
}


class LazyGroup(TyperGroup):
    """A group whose commands are imported when they are run, not when they are listed."""

    def list_commands(self, ctx: Any) -> list[str]:
        return list(COMMANDS)

    def get_command(self, ctx: Any, cmd_name: str) -> Any:
        return TyperCommand(cmd_name, help=COMMANDS[cmd_name]) if cmd_name in COMMANDS else None

    def resolve_command(self, ctx: Any, args: list[str]) -> tuple[Any, Any, Any]:
        if args and not args[0].startswith("-") and args[0] not in COMMANDS:
            raise UserError(f"no command is called '{args[0]}'", fix=suggest(args[0], COMMANDS), code=EXIT_USAGE)
        name, _, rest = super().resolve_command(ctx, args)
        return name, load_command(str(name)), rest


def load_command(name: str) -> Any:
    """Imports one command's file and builds it."""
    module = importlib.import_module(f"{__package__}.{name}")
    if hasattr(module, "app"):
        command: Any = typer.main.get_command(module.app)
    else:
        single = typer.Typer(add_completion=False, rich_markup_mode="rich")
        single.command(name)(module.command)
        command = typer.main.get_command(single)
    command.name = name
    return command


app = typer.Typer(
    cls=LazyGroup,
    name="reg2rg",
    help="Chest CT to grounded report: every sentence points at a region.\n\nStart with: reg2rg demo --out runs/demo",
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode="rich",
    pretty_exceptions_enable=False,
)


def _version(value: bool) -> None:
    if value:
        from .. import __version__

        print(f"reg2rg {__version__}")
        raise typer.Exit


@app.callback()
def main(
    version: bool = typer.Option(False, "--version", callback=_version, is_eager=True, help="Show the version and leave."),
) -> None:
    """Chest CT to grounded report."""


def run(arguments: list[str] | None = None) -> None:
    """Runs the command line: a user's fault is one sentence and an exit code, anything else keeps its traceback."""
    debug = os.environ.get("REG2RG_DEBUG") == "1"
    os.environ.setdefault("TRANSFORMERS_VERBOSITY", "error")  # its warnings are about models that aren't ours
    logging.getLogger("bitsandbytes").setLevel(logging.ERROR)  # it recommends packages on a CPU
    warnings.filterwarnings("ignore", category=FutureWarning, module=r"transformers|peft")  # for those who write these two
    try:
        app(args=arguments, prog_name="reg2rg")
    except SystemExit as ended:
        if not ended.code:
            _leave_others()
        raise
    except UserError as error:
        if debug:
            raise
        print(f"reg2rg: {error}", file=sys.stderr)
        sys.exit(error.code)
    except (BrokenPipeError, KeyboardInterrupt):
        if debug:
            raise
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        print("reg2rg: stopped.", file=sys.stderr)
        sys.exit(130)
    except OSError as error:
        if debug:
            raise
        where = f"{error.filename}: " if error.filename else ""
        print(
            f"reg2rg: {where}{error.strerror or error}. Check the path, its permissions and the disk's free space.",
            file=sys.stderr,
        )
        sys.exit(EXIT_FAILED)


def _leave_others() -> None:
    """Ends this process, after success, where it trained together with others; returns where it worked alone.

    The threads of the connection can't be stopped (torch keeps it alive once a model was wrapped for it), and one of them that
    still wants the interpreter while that ends aborts the process. So the interpreter isn't ended: only what was registered
    for its end is done. After a failure there is no success to lose, and leaving in order could wait for others for ever.
    """
    if "torch.distributed" not in sys.modules:
        return
    from torch import distributed

    if distributed.is_available() and distributed.is_initialized():
        distributed.destroy_process_group()
        atexit._run_exitfuncs()
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(0)
