"""Run the command: save, ask or check, and stop at a signal."""

from __future__ import annotations

import gc
import os
import signal
import sys
import threading
import time
from argparse import Namespace
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, TypeVar

from ..cancellation import Cancellation
from ..errors import CancelledError, DockersaveError, UsageError, for_terminal
from .arguments import network, options
from .console.spelling import Typed
from .lean import import_urllib3
from .stdout import check_is_open, is_a_file_of_its_own, is_named_by, write_lines

if TYPE_CHECKING:
    from types import FrameType

    from ..model.options import Network, Options
    from ..model.reference import Reference
    from ..resolving.questions import Registry
    from .console.console import Console

T = TypeVar("T")

_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
_PATIENCE = 0.9
"""Seconds that a stopped run gets to clean up; it exits within one second."""

_LEAST = 0.05
"""The part of that second that is left for messages."""

_ECHO = 0.1
"""A second signal within this many seconds counts as the first, delivered twice."""

_LOGIN_HINT = "use --password-stdin or --authfile"


class _Signalled(BaseException):
    """A signal came while the main thread was prompting the user."""


class Run:
    """Runs a command on a separate thread, so that signals are handled whatever it waits for."""

    def __init__(self, arguments: Namespace, console: Console) -> None:
        self._arguments = arguments
        self._console = console
        self._cancellation = Cancellation()
        self._signal = 0
        self._stopped_at = 0.0
        self._failure: BaseException | None = None
        self._asking = True
        self._done = False
        self._is_alone = False

    def run(self) -> None:
        """Run it.

        Raises:
            DockersaveError: it failed. A signal ends the process instead.
        """
        handlers = {number: signal.getsignal(number) for number in _SIGNALS}
        try:
            for number, handler in handlers.items():
                # Signals ignored by nohup or a script stay ignored.
                if handler is not signal.SIG_IGN:
                    signal.signal(number, self._stop)
            # Prompt here: only the main thread is woken by a signal.
            command = _command(self._arguments, self._console)
            self._asking = False
            if not gc.isenabled():
                gc.freeze()
                gc.enable()
            self._work_on(command)
        except _Signalled:
            pass
        finally:
            # A signal may be followed by its echo, which must not interrupt the cleanup.
            if not self._signal:
                for number, handler in handlers.items():
                    signal.signal(number, handler)
        if self._signal and not self._done:
            self._end_by_signal()
        if self._failure is not None:
            raise self._failure

    def _work_on(self, command: Callable[[Cancellation], None]) -> None:
        thread = threading.Thread(target=self._work, args=(command,), daemon=True)
        try:
            thread.start()
        except RuntimeError:
            # No threads available: use one connection. An alarm after a signal interrupts blocking
            # calls (a full pipe).
            self._is_alone = True
            signal.signal(signal.SIGALRM, self._end_at_last)
            self._work(command)
            signal.setitimer(signal.ITIMER_REAL, 0)
            return
        while thread.is_alive() and not self._signal:
            thread.join(0.2)
        thread.join(_PATIENCE if self._signal else None)

    def _work(self, command: Callable[[Cancellation], None]) -> None:
        try:
            command(self._cancellation)
            self._done = True
        except BaseException as failure:
            self._failure = failure

    def _stop(self, number: int, frame: FrameType | None) -> None:
        now = time.monotonic()
        if self._signal:
            # A supervisor signals all processes of a service, and the launcher passes its signal
            # on: count both as one. But another signal ends the run at once.
            if now > self._stopped_at + _ECHO:
                os._exit(128 + number)
            return
        self._signal, self._stopped_at = number, now
        if self._asking:
            raise _Signalled
        if self._is_alone:
            signal.setitimer(signal.ITIMER_REAL, _PATIENCE)
        self._cancellation.cancel()

    def _end_at_last(self, number: int, frame: FrameType | None) -> None:
        """Exit at once, on the working thread: it may hold locks that messages need."""
        signal.signal(signal.SIGALRM, lambda number, frame: os._exit(128 + self._signal))
        signal.setitimer(signal.ITIMER_REAL, _LEAST)
        self._end_by_signal()

    def _end_by_signal(self) -> None:
        # Another error may come of being stopped: its hint would be about that.
        hint = self._failure.advice if isinstance(self._failure, CancelledError) else ""
        stopped = DockersaveError(f"stopped by {signal.Signals(self._signal).name}", hint)
        stopped.exit_code = 128 + self._signal
        self._console.finish()
        self._console.failed(stopped)
        # Writing the message takes no time, unless nobody reads.
        self._console.flush(max(_LEAST, self._stopped_at + _PATIENCE + _LEAST - time.monotonic()))
        # Threads that wait for a name server or a slow pipe must not keep the process alive.
        os._exit(stopped.exit_code)


def _command(arguments: Namespace, console: Console) -> Callable[[Cancellation], None]:
    if arguments.licenses:
        return lambda cancellation: _licenses()
    if arguments.verify:
        return lambda cancellation: _verify(arguments, console, cancellation)
    if arguments.list:
        return lambda cancellation: _list_archive(arguments, cancellation)
    from .images import references_in

    archive = getattr(arguments, "from")
    references = references_in(arguments.images, are_archived=bool(archive))
    if not references and not archive and not arguments.locked:
        raise UsageError("no image was given", "dockersave debian; dockersave --help shows more")
    chosen = options(arguments)
    if (platform := chosen.platform) not in (None, "all"):
        from ..model.platforms import Platform

        Platform.parse(platform)
    reached = _with_login(network(arguments), arguments, console)
    import_urllib3()
    request = _Request(arguments, references, chosen, reached, console)
    if arguments.tags or arguments.metadata or arguments.sha or arguments.platforms:
        return request.ask
    if arguments.dry_run:
        return request.forecast
    if arguments.output == "-":
        check_is_open()
        if sys.stdout.isatty():
            raise UsageError(
                "an archive cannot be written to a terminal", "add | docker load, or -o FILE"
            )
    elif arguments.output and is_named_by(os.path.join(chosen.working_dir, arguments.output)):
        # A complete archive is renamed, which would replace /dev/stdout for everyone.
        raise UsageError(f"{arguments.output} is standard output", "write -o -")
    if arguments.layers_dir and not chosen.tree:
        console.note("--layers-dir has no effect: no directory is kept without --no-rm or --no-tar")
    return request.save


class _Request:
    """What registries are to be asked for, and what becomes of it.

    Args:
        arguments: of the command line.
        references: the images.
        options: what is to be saved, and how.
        network: how registries are reached.
        console: shows what happens.
    """

    def __init__(
        self,
        arguments: Namespace,
        references: Sequence[Reference],
        options: Options,
        network: Network,
        console: Console,
    ) -> None:
        self._arguments = arguments
        self._references = references
        self._network = network
        self._console = console
        self._options = options
        self._notify = Typed(console.note)
        self._trace = self._notify if arguments.verbose > 1 else None

    def save(self, cancellation: Cancellation) -> None:
        """Save the images."""
        from ..saving.save import save

        saved = self._call(save, cancellation)
        self._console.saved(saved)
        if not self._arguments.output and is_a_file_of_its_own():
            where = " and ".join(saved.paths)
            were = "was" if len(saved.paths) == 1 else "were"
            self._console.note(
                f"nothing went to standard output: {where} {were} written; -o - sends it there"
            )

    def forecast(self, cancellation: Cancellation) -> None:
        """Tell what saving them would do."""
        from ..saving.forecast import forecast
        from .answers import outlook

        found = self._call(forecast, cancellation)
        write_lines(outlook(found, as_json=self._arguments.json))
        found.check_room()

    def _call(self, action: Callable[..., T], cancellation: Cancellation) -> T:
        """Call `save`, or what takes the same arguments."""
        return action(
            *self._references,
            options=self._options,
            network=self._network,
            progress=self._console,
            notify=self._notify,
            cancellation=cancellation,
            trace=self._trace,
        )

    def ask(self, cancellation: Cancellation) -> None:
        """Answer a question about each of them."""
        from ..resolving.questions import Registry

        with Registry(
            self._network, notify=self._notify, cancellation=cancellation, trace=self._trace
        ) as registry:
            for reference in self._references:
                try:
                    self._answer(registry, reference)
                except DockersaveError as failure:
                    # A list of tags is of no tag.
                    is_of_name = self._arguments.tags
                    failure.about(reference.familiar_name if is_of_name else str(reference))
                    raise

    def _answer(self, registry: Registry, reference: Reference) -> None:
        arguments, platform = self._arguments, self._options.platform
        if arguments.tags:
            write_lines(registry.tags(reference))
        elif arguments.metadata:
            text = registry.manifest(reference, platform).decode()
            # Programs get the bytes as they are; a terminal would obey some of them.
            write_lines([for_terminal(text) if sys.stdout.isatty() else text])
        elif arguments.platforms:
            from .answers import platforms

            offers = registry.platforms(reference)
            write_lines(platforms(reference, offers, as_json=arguments.json))
        else:
            write_lines([registry.digest(reference, platform)])


def _verify(arguments: Namespace, console: Console, cancellation: Cancellation) -> None:
    from ..archive.read.verify import check_archive

    policies = []
    if arguments.verify_key or arguments.policy:
        from ..signatures.policy import policies_of

        policies = policies_of(options(arguments))
    try:
        report = check_archive(
            arguments.verify, policies=policies, progress=console, cancellation=cancellation
        )
    finally:
        console.finish()
    console.checked(report)
    if not report.is_right:
        raise report.failure()


def _list_archive(arguments: Namespace, cancellation: Cancellation) -> None:
    from ..archive.read.listing import list_archive
    from .answers import listing

    found = list_archive(arguments.list, cancellation=cancellation)
    write_lines(listing(found, as_json=arguments.json))


def _licenses() -> None:
    from .licenses import texts

    write_lines(texts())


def _with_login(chosen: Network, arguments: Namespace, console: Console) -> Network:
    if arguments.password is not None:
        console.note("warning: --password is visible in the process list and the shell's history")
        return chosen
    if not (arguments.user or arguments.ilogin):
        return chosen
    from ..values import replace

    if arguments.password_stdin:
        from ..limits import LIMITS

        if sys.stdin is None:
            raise UsageError(
                "standard input is closed: cannot read the password from it",
                "pipe the password in, or let --ilogin ask for it",
            )
        # As bytes: what is not UTF-8 is sent unchanged, whatever the locale.
        line = sys.stdin.buffer.readline(LIMITS.token_answer).rstrip(b"\r\n")
        return replace(chosen, password=line.decode(errors="surrogateescape"))
    console.flush()
    return _ask_login(chosen)


def _ask_login(chosen: Network) -> Network:
    import getpass

    from ..values import replace

    if sys.stdin is None or not sys.stdin.isatty():
        raise UsageError("there is no terminal to prompt for credentials", _LOGIN_HINT)
    try:
        user = chosen.user or _input_line("User: ")
        return replace(chosen, user=user, password=getpass.getpass("Password: ", sys.stderr))
    except EOFError:
        raise UsageError("no credentials were entered", _LOGIN_HINT) from None


def _input_line(prompt: str) -> str:
    sys.stderr.write(prompt)
    sys.stderr.flush()
    line = sys.stdin.readline()
    if not line:
        raise EOFError
    return line.strip()
