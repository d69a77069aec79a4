"""The command line: from arguments to help or a command, and an exit code.

Imports only what help and version need.
"""

from __future__ import annotations

import os
import sys

from .. import __version__
from ..errors import DockersaveError, in_one_line

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

    from .console.console import Console

_BUG = "this is a bug in dockersave; run it again with --verbose and report what it prints"
_NO_MEMORY = ("failed to map segment", "unknown encoding: idna")
"""What is raised instead of MemoryError if a shared object cannot be loaded."""
_MEMORY_HINT = "use fewer --jobs, or raise the limit (ulimit -v, or that of the container)"


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line.

    Args:
        argv: the arguments without the program's name; None for this process's.

    Returns:
        The exit code (see the README's table).
    """
    _occupy_standard_descriptors()
    words = list(sys.argv[1:] if argv is None else argv)
    console: Console | None = None
    verbose = not {"-v", "-vv", "--verbose"}.isdisjoint(words)
    try:
        if words[:1] == ["help"]:
            words[0] = "--help"
        if _answer(*words):
            return 0
        from .arguments import check, parser

        arguments = parser().read(words)
        verbose = arguments.verbose > 0
        if arguments.help or arguments.version:
            topics = [arguments.help] if isinstance(arguments.help, str) else []
            _answer("--help" if arguments.help else "--version", *topics)
            return 0
        check(arguments)
        from .command import Run
        from .console.choice import console_for

        console = console_for(arguments.progress, quiet=arguments.quiet, verbose=verbose)
        Run(arguments, console).run()
        console.flush()
        return 0
    except DockersaveError as failure:
        from .stdout import Unread

        if isinstance(failure, Unread):
            if console is not None:
                console.flush()
            return failure.exit_code
        return _explain(console, failure, verbose)
    except KeyboardInterrupt:
        return 130
    except Exception as failure:
        if isinstance(failure, MemoryError) or any(said in str(failure) for said in _NO_MEMORY):
            unforeseen = DockersaveError("there is not enough memory", _MEMORY_HINT)
        else:
            unforeseen = DockersaveError(f"{type(failure).__name__}: {failure}", _BUG)
        unforeseen.__traceback__ = failure.__traceback__
        return _explain(console, unforeseen, verbose)


def _answer(*words: str) -> bool:
    """Answer questions that need no parser.

    Returns:
        Whether it was answered.
    """
    match words:
        case ["--version"]:
            text = f"dockersave {__version__}"
        case ["-h" | "--help"]:
            from .option_table import page

            text = page()
        case ["-h" | "--help", topic]:
            from .guides import guide, topics

            if topic not in topics():
                return False
            text = guide(topic)
        case _:
            return False
    from .stdout import write_lines

    write_lines([text])
    return True


def _occupy_standard_descriptors() -> None:
    """Open closed standard streams, or an archive could get the descriptor of standard error."""
    for descriptor in (0, 1, 2):
        try:
            os.fstat(descriptor)
        except OSError:
            # A file in memory: an empty root has no /dev/null.
            os.memfd_create("closed")


def _traced(failure: BaseException) -> str:
    """A traceback whose errors name options, like all output of the command."""
    import traceback

    from .console.spelling import as_typed

    text = "".join(traceback.format_exception(failure))
    chain: list[BaseException | None] = [failure]
    for one in chain:
        if one is not None:
            chain += {one.__cause__, one.__context__}
        if isinstance(one, DockersaveError):
            text = text.replace(str(one), as_typed(one.marked))
    return "".join(f"{in_one_line(line)}\n" for line in text.splitlines())


def _explain(console: Console | None, failure: DockersaveError, verbose: bool) -> int:
    if console is None:
        try:
            from .console.console import Console
        except DockersaveError:
            # The static binary has no room to unpack the console.
            words = f"dockersave: error: {failure}\n  {failure.hint}\n"
            os.write(2, words.encode(errors="backslashreplace"))
            return failure.exit_code
        console = Console()
    if verbose and failure.__traceback__ is not None:
        console.write(_traced(failure))
    console.failed(failure)
    console.flush()
    return failure.exit_code
