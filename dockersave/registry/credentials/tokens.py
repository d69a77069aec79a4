"""What token endpoints are asked, and what they answer. Pure.

Sources: distribution's "Token Authentication Specification" and "Oauth2 Token Authentication".
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping
from typing import Any
from urllib.parse import parse_qsl, quote, urlencode, urlsplit, urlunsplit

from ...errors import NetworkError
from ...limits import LIMITS
from ...model.weight import is_too_heavy
from ...values import dataclass, field
from ..concealing.secrets import Conceal
from ..connections import failures

_LEAST_LIFE = 60.0
"""Lifetime of a token in seconds if the answer states less or nothing (token specification)."""
_MOST_LIFE = 1e9
# What may follow "Bearer " in a header (RFC 6750, section 2.1), without control characters.
_TOKEN = re.compile(r"[\x21-\x7e]+")


@dataclass(frozen=True, slots=True)
class Answer:
    """The response of a token endpoint.

    Args:
        status: the HTTP status.
        headers: with case-insensitive names.
        body: of at most `LIMITS.token_answer` bytes.
    """

    status: int
    headers: Mapping[str, str]
    body: bytes = field(repr=False)


Ask = Callable[[str, str, Mapping[str, str], bytes | None], Answer]
"""One exchange with a token endpoint: method, URL, headers, body; raises NetworkError."""


def with_query(url: str, parameters: list[tuple[str, str]]) -> str:
    """Add parameters to a URL, without repeating those that it has."""
    parts = urlsplit(url)
    there = parse_qsl(parts.query, keep_blank_values=True)
    added = urlencode(
        [pair for pair in parameters if pair not in there], quote_via=quote, safe=":/"
    )
    query = "&".join(filter(None, (parts.query, added)))
    return urlunsplit((parts.scheme, parts.netloc, parts.path, query, ""))


def token_of(answer: Answer, host: str, conceal: Conceal) -> tuple[str, float]:
    """The token in a response, and its lifetime in seconds.

    Args:
        answer: neither 401 nor 403.
        host: the sender, for messages.
        conceal: removes secrets from its messages.

    Raises:
        DockersaveError: it contains none.
    """
    if answer.status != 200:
        if answer.status in {404, 405}:
            raise NetworkError(f"{host}: returned {answer.status} instead of a token")
        raise failures.of_answer(
            answer.status, answer.headers, answer.body, host, "the request for a token", conceal
        )
    try:
        is_heavy = is_too_heavy(answer.body, LIMITS.answer_marks)
        document = None if is_heavy else json.loads(answer.body)
    except (ValueError, RecursionError):
        document = None
    document = document if isinstance(document, dict) else {}
    token = document.get("token") or document.get("access_token")
    if not isinstance(token, str) or not _TOKEN.fullmatch(token):
        raise NetworkError(
            f"{host}: returned no token",
            "something in between (a proxy, a login page) may be answering instead",
            transient=True,
        )
    if len(token) > LIMITS.token:
        raise NetworkError(
            f"{host}: returned a token of {len(token)} characters",
            f"no server accepts a token that long: at most {LIMITS.token} are accepted",
        )
    life: Any = document.get("expires_in")
    is_sane = isinstance(life, int | float) and _LEAST_LIFE < life < _MOST_LIFE
    return token, float(life) if is_sane else _LEAST_LIFE
