"""The kinds of errors, each with its exit code.

An error says in one line what failed and why, and in a second what to do about it. The code that
raises it knows the cause; `DockersaveError.about` lets a caller further up add the image.

Arguments in both lines are marked (`spelling.argument`). Callers from Python read `message`, `hint`
and `str()`; another front end spells `marked` and `marked_hint` its own way.
"""

from __future__ import annotations

from .spelling import argument, as_python

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import Any


class DockersaveError(Exception):
    """The base class of every error that dockersave raises on purpose. It can be pickled.

    Args:
        message: what failed and why, one line, without secrets.
        hint: what you can do about it, one line; empty for what usually helps.
    """

    exit_code = 1
    _usual = ""
    """What can usually be done about errors of this class."""
    is_shared = False
    """Whether another thread made the failed attempt, and counts it."""
    failures: Sequence[DockersaveError] = ()
    """The errors that it stands for, if there are several."""

    def __init__(self, message: str, hint: str = "") -> None:
        super().__init__(as_python(message))
        self.said = message
        """The message, its arguments marked."""
        self.advice = hint
        """The hint that was given, its arguments marked."""
        self.subject = ""

    @property
    def message(self) -> str:
        """What failed and why."""
        return as_python(self.said)

    @message.setter
    def message(self, text: str) -> None:
        self.said = text

    @property
    def hint(self) -> str:
        """What the user can do about it."""
        return as_python(self.marked_hint)

    @hint.setter
    def hint(self, text: str) -> None:
        self.advice = text

    @property
    def marked_hint(self) -> str:
        """What `hint` gives, its arguments marked."""
        return self.advice or self._usual

    @property
    def marked(self) -> str:
        """What `str` gives, its arguments marked."""
        return f"{self.subject}: {self.said}" if self.subject else self.said

    def about(self, subject: str) -> DockersaveError:
        """Name what was being worked on, unless code closer to the error already has."""
        self.subject = self.subject or subject
        return self

    def advise(self, more: str) -> None:
        """Add to the hint, once even if the same error is judged again.

        Args:
            more: one more thing that you can do, its arguments marked.
        """
        said = self.marked_hint.removesuffix(more).rstrip(" ;")
        self.advice = f"{said}{' ' if said.endswith('?') else '; ' * bool(said)}{more}"

    def __str__(self) -> str:
        return f"{self.subject}: {self.message}" if self.subject else self.message

    def __reduce__(self) -> tuple[Any, ...]:
        # Not by calling the class again: its parameters differ from `args`.
        return _revived, (type(self), self.args, dict(self.__dict__))


def _revived(
    kind: type[DockersaveError], args: tuple[object, ...], state: dict[str, object]
) -> DockersaveError:
    """A pickled error with all its attributes, but without its cause."""
    failure = kind.__new__(kind, *args)
    failure.__dict__.update(state)
    return failure


class UsageError(DockersaveError):
    """Options that contradict each other, or a reference that cannot be parsed."""

    exit_code = 2
    _usual = argument("help")


class NotFoundError(DockersaveError):
    """The registry has no such image, tag, digest or platform."""

    exit_code = 3
    _usual = f"is the name right? {argument('tags')} lists the tags"


class CredentialsError(DockersaveError):
    """Credentials are missing, or the registry refused them."""

    exit_code = 4
    _usual = f"log in again: docker login, {argument('login')}"


class NetworkError(DockersaveError):
    """The registry, or the network on the way to it, fails.

    Args:
        message, hint: as in `DockersaveError`.
        transient: whether a retry can help.
        retry_after: seconds that the server asked us to wait, or None.
        unreachable: nothing answered at all (refused, no route, unknown name), or the clock is
            behind. This is what `wait` waits for.
        crowded: the server answers, but not on this many connections at once (429, 503).
        answered: the server is there, but refused (500, 429): other connections would fare no
            better.
    """

    exit_code = 5
    _usual = f"try again later; {argument('trace')} each request and what came back"

    def __init__(
        self,
        message: str,
        hint: str = "",
        *,
        transient: bool = False,
        retry_after: float | None = None,
        unreachable: bool = False,
        crowded: bool = False,
        answered: bool = False,
    ) -> None:
        super().__init__(message, hint)
        self.transient = transient
        self.retry_after = retry_after
        self.unreachable = unreachable
        self.crowded = crowded
        self.answered = answered


class ContentError(DockersaveError):
    """Content is not what it claims to be: wrong digest, wrong size, or a malformed document.

    Args:
        message, hint: as in `DockersaveError`.
        transient: whether fetching it again can help (a bit may have flipped in transit).
    """

    exit_code = 6
    _usual = (
        "it is damaged where it comes from, or on the way: try another network or mirror, "
        "or tell whoever published it"
    )

    def __init__(self, message: str, hint: str = "", *, transient: bool = False) -> None:
        super().__init__(message, hint)
        self.transient = transient


class OutputError(DockersaveError):
    """The output cannot be written: disk full, permission, no such directory."""

    exit_code = 7
    _usual = f"write to another place, with {argument('output')} or {argument('working_dir')}"


class SignatureError(DockersaveError):
    """No signature by the keys that are required, or a policy that refuses the image."""

    exit_code = 8
    _usual = "cosign tree shows what signatures there are"


class CancelledError(DockersaveError):
    """The caller or a signal stopped the run."""

    exit_code = 130


class SaveFailures(DockersaveError):
    """Several images of one archive failed; the exit code is the first one's.

    Args:
        failures: one error per failed image, in the order of the images.
    """

    def __init__(self, failures: list[DockersaveError]) -> None:
        each = "; ".join(failure.marked for failure in failures)
        super().__init__(f"{len(failures)} images failed: {each}")
        self.failures: list[DockersaveError] = failures
        self.advice = failures[0].marked_hint
        self.exit_code = failures[0].exit_code

    def about(self, subject: str) -> DockersaveError:
        """Each error already names its own image."""
        return self


def shown(text: str, most: int = 200) -> str:
    """Text from a registry, safe to print: no control characters, and not too long.

    Args:
        most: characters.
    """
    cut = text if len(text) <= most else f"{text[: most - 3]}..."
    return "".join(char if char.isprintable() else "?" for char in cut)


_ESCAPES = {
    code: ascii(chr(code))[1:-1] for code in (*range(0x20), *range(0x7F, 0xA0), 0x2028, 0x2029)
}


def in_one_line(text: str) -> str:
    """Text of the user's own, such as a file's name, without control characters.

    Terminals would obey them. They are written as in Python: `\\x1b`, `\\n`.
    """
    return text.translate(_ESCAPES)


def for_terminal(text: str) -> str:
    """JSON with its control characters replaced by equivalent escapes.

    JSON strings may contain U+007F to U+009F, and terminals obey them.
    """
    return "".join(
        char if char.isprintable() or char in "\n\t\r" else _escape(char) for char in text
    )


def _escape(char: str) -> str:
    units = char.encode("utf-16-be", errors="surrogatepass")
    pairs = zip(units[::2], units[1::2], strict=True)
    return "".join(f"\\u{high:02x}{low:02x}" for high, low in pairs)
