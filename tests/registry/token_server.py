"""A token server whose tokens a real registry believes: signed JWTs (distribution, JWT spec)."""

from __future__ import annotations

import base64
import json
import secrets
import ssl
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import ClassVar
from urllib.parse import parse_qs, urlsplit

import jwt
import trustme
from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, load_pem_private_key
from cryptography.x509 import load_pem_x509_certificate

ISSUER = "dockersave-tests"
SERVICE = "registry.test"


class TokenServer:
    """Gives out tokens to read any repository, in a thread of its own.

    Parameters:
        users: passwords by user.
        anonymous: whether a token is given without credentials.
        lifetime: seconds that a token is good for (the registry adds a leeway of 60 s).
        tls: certificate to serve https with; None for plain HTTP.

    Attributes:
        url: the realm, for the registry's challenge.
        roots: PEM bundle that the registry is to believe.
        requests: what was asked, as `(method, query or form)`.
        identity_token: a refresh token that the OAuth2 endpoint takes for any user.
    """

    def __init__(
        self,
        folder: Path,
        users: dict[str, str],
        *,
        anonymous: bool = False,
        lifetime: int = 300,
        tls: trustme.LeafCert | None = None,
    ) -> None:
        self.users, self.anonymous, self.lifetime = users, anonymous, lifetime
        self.requests: list[tuple[str, dict[str, list[str]]]] = []
        self.identity_token = secrets.token_urlsafe(24)
        authority = trustme.CA(key_type=trustme.KeyType.ECDSA)
        signer = authority.issue_cert("token.test", key_type=trustme.KeyType.ECDSA)
        self.roots = folder / "token-roots.pem"
        authority.cert_pem.write_to_path(str(self.roots))
        key = load_pem_private_key(signer.private_key_pem.bytes(), password=None)
        assert isinstance(key, EllipticCurvePrivateKey)
        self._key = key
        leaf = load_pem_x509_certificate(signer.cert_chain_pems[0].bytes())
        self._chain = [base64.b64encode(leaf.public_bytes(Encoding.DER)).decode()]
        self._server = ThreadingHTTPServer(
            ("127.0.0.1", 0), type("Handler", (_Handler,), {"tokens": self})
        )
        if tls is not None:
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            tls.configure_cert(context)
            self._server.socket = context.wrap_socket(self._server.socket, server_side=True)
        scheme = "http" if tls is None else "https"
        self.url = f"{scheme}://127.0.0.1:{self._server.server_port}/token"
        self._thread = threading.Thread(target=self._server.serve_forever, daemon=True)
        self._thread.start()

    def issue(self, account: str, scopes: list[str]) -> str:
        """Return a signed token that allows what `scopes` ask for, as far as reading goes."""
        now = int(time.time())
        claims = {
            "iss": ISSUER,
            "sub": account,
            "aud": SERVICE,
            "exp": now + self.lifetime,
            "nbf": now - 10,
            "iat": now,
            "jti": secrets.token_hex(8),
            "access": [
                {"type": kind, "name": name, "actions": ["pull"]}
                for kind, name, actions in (scope.split(":", 2) for scope in scopes)
                if "pull" in actions.split(",")
            ],
        }
        return jwt.encode(claims, self._key, algorithm="ES256", headers={"x5c": self._chain})

    def close(self) -> None:
        """Stop answering."""
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()


class _Handler(BaseHTTPRequestHandler):
    tokens: ClassVar[TokenServer]
    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        query = parse_qs(urlsplit(self.path).query)
        self.tokens.requests.append(("GET", query))
        header = self.headers.get("Authorization", "")
        account = self._account(header)
        if account is None and (header or not self.tokens.anonymous):
            self._answer(401, {"errors": [{"code": "UNAUTHORIZED", "message": "who are you?"}]})
        else:
            self._grant(account or "", query)

    def do_POST(self) -> None:
        length = int(self.headers.get("Content-Length", "0"))
        form = parse_qs(self.rfile.read(length).decode())
        self.tokens.requests.append(("POST", form))
        user, password = form.get("username", [""])[0], form.get("password", [""])[0]
        if form.get("grant_type") == ["refresh_token"]:
            known = form.get("refresh_token") == [self.tokens.identity_token]
        else:
            known = self.tokens.users.get(user) == password
        if known:
            self._grant(user, form)
        else:
            self._answer(401, {"errors": [{"code": "UNAUTHORIZED", "message": "not you"}]})

    def _account(self, header: str) -> str | None:
        scheme, _, value = header.partition(" ")
        if scheme.lower() != "basic":
            return None
        user, _, password = base64.b64decode(value).decode().partition(":")
        return user if self.tokens.users.get(user) == password else None

    def _grant(self, account: str, asked: dict[str, list[str]]) -> None:
        scopes = [scope for line in asked.get("scope", []) for scope in line.split()]
        token = self.tokens.issue(account, scopes)
        self._answer(
            200, {"token": token, "access_token": token, "expires_in": self.tokens.lifetime}
        )

    def _answer(self, status: int, document: object) -> None:
        body = json.dumps(document).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:
        """Keep quiet: `TokenServer.requests` has it all."""
