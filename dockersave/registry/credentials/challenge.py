"""What a registry demands: the challenges of a WWW-Authenticate header (RFC 9110, 11.6.1). Pure.

The grammar, with the empty list elements that a recipient must accept (section 5.6.1):

    WWW-Authenticate = [ challenge *( OWS "," OWS challenge ) ]
    challenge        = auth-scheme [ 1*SP ( token68 / #auth-param ) ]
    auth-param       = token BWS "=" BWS ( token / quoted-string )
    token68          = 1*( ALPHA / DIGIT / "-" / "." / "_" / "~" / "+" / "/" ) *"="

Commas separate both challenges and parameters: a word followed by "=" is a parameter, any other
word starts the next challenge. Malformed parts are skipped, so that one odd challenge does not hide
the others.
"""

from __future__ import annotations

import re
from collections.abc import Iterable

from ...values import dataclass, field

_TOKEN = r"[!#$%&'*+.^_`|~0-9A-Za-z-]++"
_SCHEME = re.compile(rf"({_TOKEN})(?=[ \t,]|\Z)")
_TOKEN68 = re.compile(r"[ \t]+([A-Za-z0-9._~+/-]+=*)[ \t]*(?=,|\Z)")
# Some registries do not quote URLs, which are not tokens: take everything up to a comma or space.
_PARAMETER = re.compile(
    rf"({_TOKEN})[ \t]*=[ \t]*" r'(?:"((?:[^"\\]|\\.)*+)"|([^\s,"=][^\s,"]*))', re.DOTALL
)
_UNCLOSED = re.compile(rf'{_TOKEN}[ \t]*=[ \t]*"')
_ESCAPED = re.compile(r"\\(.)", re.DOTALL)


@dataclass(frozen=True, slots=True)
class Challenge:
    """One authentication scheme that a server offers.

    Args:
        scheme: in lower case: `basic`, `bearer`, …
        parameters: by their names in lower case; of duplicates, the first.
        token68: what the scheme has instead of parameters, or empty.
    """

    scheme: str
    parameters: dict[str, str] = field(default_factory=dict)
    token68: str = ""


def parse(headers: Iterable[str]) -> list[Challenge]:
    """Parse the challenges of a response, in their order; never raises.

    Args:
        headers: the values of its WWW-Authenticate fields, separate or joined by commas.
    """
    return [challenge for header in headers for challenge in _parse_field(header)]


def _parse_field(text: str) -> list[Challenge]:
    challenges: list[Challenge] = []
    position = 0
    while True:
        while position < len(text) and text[position] in " \t,":
            position += 1
        if position == len(text):
            return challenges
        if parameter := _PARAMETER.match(text, position):
            position = parameter.end()
            if challenges:
                name, quoted, plain = parameter.groups()
                value = _ESCAPED.sub(r"\1", quoted) if plain is None else plain
                challenges[-1].parameters.setdefault(name.lower(), value)
        elif scheme := _SCHEME.match(text, position):
            position = scheme.end()
            token68 = _TOKEN68.match(text, position)
            if token68:
                position = token68.end()
            challenges.append(Challenge(scheme[1].lower(), token68=token68[1] if token68 else ""))
        elif _UNCLOSED.match(text, position):
            # Everything after an unclosed quote is inside it: nothing is left to find.
            return challenges
        else:
            comma = text.find(",", position)
            position = comma if comma >= 0 else len(text)
