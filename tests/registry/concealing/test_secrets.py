"""Secrets stay out of output, however a server encodes them."""

from __future__ import annotations

import base64
import html
import json
import time
import tracemalloc
from collections.abc import Callable
from urllib.parse import quote, quote_plus

import pytest

from dockersave.errors import DockersaveError, shown
from dockersave.limits import LIMITS
from dockersave.registry.concealing.secrets import Secrets, without_queries

WORD = 'hun+er/2 "S3cr=t"\\%ü☃&<>\''
PLAIN = "hunter2/S3cr3tS3cr3tS3cr3t"


def packed(text: str) -> str:
    return base64.b64encode(text.encode()).decode()


def units(text: str) -> list[str]:
    """The words of a text in UTF-16, as hex."""
    data = text.encode("utf-16-be")
    return [data[at : at + 2].hex() for at in range(0, len(data), 2)]


def in_lines(text: str, length: int, end: str) -> str:
    """A text in lines of so many characters."""
    return end.join(text[at : at + length] for at in range(0, len(text), length))


SPELLINGS: dict[str, Callable[[str], str]] = {
    "as it is": lambda word: word,
    "capitals": str.upper,
    "JSON": lambda word: json.dumps(word)[1:-1],
    "JSON, UTF-8": lambda word: json.dumps(word, ensure_ascii=False)[1:-1],
    "JSON of PHP": lambda word: json.dumps(word)[1:-1].replace("/", "\\/"),
    "JSON of Go": lambda word: (
        json.dumps(word)[1:-1].replace("+", "\\u002b").replace("=", "\\u003D")
    ),
    "URL": lambda word: quote(word, safe=""),
    "URL, lower case": lambda word: quote(word, safe="").lower(),
    "URL, path": quote,
    "URL in a URL": lambda word: quote(quote(word, safe=""), safe=""),
    "form": quote_plus,
    "HTML": html.escape,
    "HTML, text": lambda word: html.escape(word, quote=False),
    "HTML of Go": lambda word: (
        html.escape(word).replace("&quot;", "&#34;").replace("+", "&#43;").replace("=", "&#61;")
    ),
    "HTML, ASCII": lambda word: html.escape(word).encode("ascii", "xmlcharrefreplace").decode(),
    "hex": lambda word: word.encode().hex(),
    "URL, all": lambda word: "".join(f"%{byte:02X}" for byte in word.encode()),
    "URL, all, thrice": lambda word: "".join(f"%2525{byte:02x}" for byte in word.encode()),
    "URL of IIS": lambda word: "".join(f"%u{unit}" for unit in units(word)),
    "HTML, all": lambda word: "".join(f"&#{ord(char)};" for char in word),
    "HTML, all, hex": lambda word: "".join(f"&#X000{ord(char):x};" for char in word),
    "HTML, no semicolons": lambda word: "".join(f"&#{ord(char):07}" for char in word),
    "HTML, names": lambda word: (
        html.escape(word).replace("+", "&plus;").replace("/", "&sol;").replace("=", "&equals;")
    ),
    "HTML in HTML": lambda word: html.escape("".join(f"&#{ord(char)};" for char in word)),
    "JSON, all": lambda word: "".join(f"\\u{unit}" for unit in units(word)),
    "JSON in JSON": lambda word: json.dumps(json.dumps(word))[1:-1],
    "JSON, all, in JSON": lambda word: "".join(f"\\\\u{unit}" for unit in units(word)),
    "JSON in a URL": lambda word: quote(json.dumps(word)[1:-1], safe=""),
    "a URL in HTML": lambda word: "".join(f"&percnt;{byte:02x}" for byte in word.encode()),
    "C": lambda word: "".join(f"\\x{byte:02x}" for byte in word.encode()),
    "C, octal": lambda word: "".join(f"\\{byte:03o}" for byte in word.encode()),
    "JavaScript": lambda word: "".join(f"\\u{{{ord(char):x}}}" for char in word),
    "Perl": lambda word: "".join(f"\\x{{{ord(char):04x}}}" for char in word),
    "Python": lambda word: "".join(f"\\U{ord(char):08x}" for char in word),
    "every other letter": lambda word: "".join(
        f"%{ord(char):02x}" if at % 2 and char.isascii() else quote(char)
        for at, char in enumerate(word)
    ),
    "hex, apart": lambda word: word.encode().hex(":", 2).upper(),
    "lines": lambda word: in_lines(word, 5, "\n"),
    "lines in JSON": lambda word: json.dumps(in_lines(word, 12, "\r\n"))[1:-1],
    "a folded header": lambda word: in_lines(word, 30, "\r\n  "),
    "UTF-16": "\0".join,
    "soft hyphens": lambda word: in_lines(word, 4, "\xad\u200b"),
    "Base64 in lines": lambda word: base64.encodebytes(f"me:{word}".encode()).decode(),
    "Base64 in lines, in JSON": lambda word: json.dumps(in_lines(packed(word), 20, "\n    ")),
    "Base64": packed,
    "Base64, after a name": lambda word: packed(f"me:{word}"),
    "Base64, after another": lambda word: packed(f"you:{word}"),
    "Base64, in between": lambda word: packed(f"<<{word}>>"),
    "Base64 for URLs": lambda word: packed(f"me:{word}").replace("+", "-").replace("/", "_"),
    "Base64 in a URL": lambda word: quote(packed(f"me:{word}"), safe=""),
    "Base64 in JSON": lambda word: packed(f"me:{word}").replace("/", "\\/"),
}


ESCAPED = "a%41b\\u0065c&amp;\\n%2541"
WORDS = [
    WORD,
    PLAIN,
    ESCAPED,
    "\U0001f600\U0001f601xy",
    "pass",
    "ghp_" + "aB3" * 12,
    "a" * 5000,
    "/+/+/+/+",
]
# Four letters in Base64 cannot be told from other text.
ODD = ("100 %", r"C:\x\u\new", "&c; a&b &#x; &#1114112;", "%zz%4", r"\ud83d \x{110000}", "x\\")
CASES = [
    (name, word) for name in SPELLINGS for word in WORDS if len(word) > 4 or name[:4] != "Base"
]


@pytest.mark.parametrize(("name", "word"), CASES, ids=lambda part: part[:20])
def test_every_spelling(name: str, word: str) -> None:
    secrets = Secrets()
    secrets.add([word])
    spelled = SPELLINGS[name](word)
    for text in (spelled, f"<{spelled}>", f"bad login: {spelled}; again", spelled * 2):
        said = secrets.conceal(text)
        assert "***" in said
        for length in range(len(spelled), 9, -1):
            assert spelled[:length] not in said or spelled[:length] in "bad login: "


@pytest.mark.parametrize(
    "said",
    [
        "p%FCssw%F6rd",
        r"p\xfcssw\xf6rd",
        "p\u00c3\u00bcssw\u00c3\u00b6rd",
        "cPxzc3f2cmQ=",
        "p\udcfcssw\udcf6rd",
    ],
)
def test_other_encodings_than_utf_8(said: str) -> None:
    """Of a server that speaks Latin-1, and of headers, which are read as such."""
    secrets = Secrets()
    secrets.add(["p\u00fcssw\u00f6rd"])
    assert secrets.conceal(f"bad {said};").startswith("bad ***")


def test_nothing_else_is_concealed() -> None:
    secrets = Secrets()
    secrets.add(["", "a", "abc", WORD])
    for text in (
        "",
        "abc",
        "DENIED: there is no such image: sha256:0123456789abcdef",
        "/v2/a/b",
        *ODD,
    ):
        assert secrets.conceal(text) == text


def test_what_stands_beside_a_secret_is_shown_as_it_came() -> None:
    secrets = Secrets()
    secrets.add(["hunter2"])
    assert (
        secrets.conceal(r"%41 \n h%75nter2 &amp; \"\u0068unter2\"") == r"%41 \n *** &amp; \"***\""
    )
    assert secrets.conceal("hunter2h%75nter2") == "******"


def test_a_token_and_a_password_that_it_begins_with() -> None:
    secrets = Secrets()
    secrets.add(["token", "token-that-is-longer"])
    assert secrets.conceal("x token-that-is-longer y") == "x *** y"


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("at https://s.example/b?X-Amz-Signature=abc&x=y now", "at https://s.example/b?*** now"),
        ('"/v2/a?sig=b%2f" and "/c?d"', '"/v2/a?***" and "/c?***"'),
        ("is it there? look", "is it there? look"),
        ("https://s.example/b?", "https://s.example/b?"),
        ("https:\\/\\/s.example\\/b\\u003fsig=b", "https:\\/\\/s.example\\/b\\u003f***"),
        (
            "to https%3A%2F%2Fs.example%2Fb%3Fsig%3Db now",
            "to https%3A%2F%2Fs.example%2Fb%3F*** now",
        ),
    ],
)
def test_queries_of_addresses(text: str, said: str) -> None:
    assert without_queries(text) == said
    assert Secrets().conceal(text) == said


def test_a_signature_outside_its_address() -> None:
    secrets = Secrets()
    secrets.add_signed("https://s.example/x?sig=c2lnbmF0dXJlIQ%3D%3D&sv=2024&n=1")
    assert (
        secrets.conceal("signature c2lnbmF0dXJlIQ== is not right") == "signature *** is not right"
    )
    for number in range(1000):
        secrets.add_signed(f"https://s.example/x?sig={'x' * 2000}{number}")
    begun = time.process_time()
    assert "***" in secrets.conceal("x" * 2000 + "999")
    assert time.process_time() - begun < 10


@pytest.mark.parametrize(
    "text",
    [
        *("/" * 65536, "a" * 65536, "/?" * 32768, "aaaa?" * 13000, "%" * 65536),
        *("%25" * 9000, "%61" * 9000, "\\" * 9000, "\\\\u0061" * 9000, "\\u{" * 9000),
        *("&#" + "0" * 9000, "&#0" * 9000, "&amp;" * 9000, "&a" * 9000, "%u" * 9000),
        *("\\ud83d" * 9000, "%c3" * 9000, "&#9999999;" * 9000, "\\UFFFFFFFF" * 9000),
    ],
    ids=lambda text: text[:9],
)
def test_no_text_takes_long(text: str) -> None:
    secrets = Secrets()
    secrets.add(["a" * 100_000, "%" * 1000, "/" * 5000, "a" * 31 + "b", "\\" * 40, "%25" * 99])
    for number in range(99):
        secrets.add_token(f"aaaaaaaaaaaa{number}")
    begun = time.process_time()
    secrets.conceal(text)
    assert time.process_time() - begun < 5


def test_a_secret_that_a_server_has_cut() -> None:
    secrets = Secrets()
    secrets.add([PLAIN * 3])
    assert secrets.conceal(f"bad: {(PLAIN * 3)[:50]}... again") == "bad: *** again"


def test_what_is_given_takes_no_memory() -> None:
    secrets = Secrets()
    long = "!" * 1_000_000
    tracemalloc.start()
    try:
        for number in range(80):
            secrets.add_signed(f"https://s.example/x?sig={number:012}{long[: LIMITS.link]}")
            secrets.add_token(f"{number:04}{long}")
            secrets.add(["#" * 1_000_000])
        assert secrets.conceal(f"no 0079{long}").startswith("no ***")
        assert tracemalloc.get_traced_memory()[1] < 16 << 20
    finally:
        tracemalloc.stop()


def test_the_latest_of_what_is_given_is_known() -> None:
    secrets = Secrets()
    secrets.add(["my own password"])
    for number in range(1000):
        secrets.add_token(f"token-{number:04}")
        secrets.add_token("token-that-is-sent-again")
        secrets.add_signed(f"https://s.example/x?sig=signature-{number:04}")
    said = secrets.conceal(
        "my own password, token-0999 token-0970 token-that-is-sent-again signature-0999;"
    )
    assert said == "***, *** *** *** ***;"


@pytest.mark.parametrize("spell", [str, quote_plus, packed, lambda word: json.dumps(word)[1:-1]])
@pytest.mark.parametrize("filling", ["x", "a ", "a/?b "])
def test_of_a_long_text_the_beginning_is_shown(filling: str, spell: Callable[[str], str]) -> None:
    secrets = Secrets()
    spelled = [spell(word) for word in ("\U0001f600" * 40, "\U0001f601" * 33)]
    secrets.add(["\U0001f600" * 40, "\U0001f601" * 33])
    for before in range(7790, 8300, 31):
        text = (filling * 8300)[:before] + spelled[0] + " " + spelled[1] * 3000
        said = secrets.conceal(text)
        assert len(said) < 20000
        assert said.endswith("***")
        assert not any(word[:8] in said for word in spelled)


def test_passwords_of_proxies() -> None:
    secrets = Secrets()
    secrets.add_proxies(
        {"HTTPS_PROXY": "http://me:p%40ss-word@proxy:3128", "http_proxy": "proxy:1"}
    )
    for text in ("p@ss-word", "p%40ss-word", packed("me:p@ss-word")):
        assert secrets.conceal(f"bad {text} there").startswith("bad *** there")


def test_bytes_in_what_a_failure_came_from() -> None:
    secrets = Secrets()
    secrets.add([WORD])
    failure = DockersaveError("it failed")
    failure.__cause__ = ValueError(b"\xff" + WORD.encode() + b"\xff", 7)
    assert secrets.clean(failure) is failure
    assert failure.__cause__.args == (b"\xff***\xff", 7)


@pytest.mark.parametrize("spell", [str, packed, lambda word: in_lines(packed(word), 8, "\r\n ")])
def test_what_was_cut_before_it_is_concealed(spell: Callable[[str], str]) -> None:
    """Documents are quoted where nobody knows secrets."""
    secrets = Secrets()
    secrets.add([PLAIN])
    spelled = spell(PLAIN)
    for length in range(130, 210):
        said = secrets.conceal(f"the type {shown('x ' * length + spelled)}, here")
        assert spelled[:6] not in said
        assert said.endswith(", here")


def test_what_is_concealed_is_cut_afterwards() -> None:
    secrets = Secrets()
    secrets.add([PLAIN])
    assert secrets.shown("\x9b2J" + PLAIN) == "?2J***"
    for length in range(150, 210):
        assert PLAIN[:8] not in secrets.shown("x" * length + PLAIN)
