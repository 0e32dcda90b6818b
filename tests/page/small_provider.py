"""A small OpenID provider over real HTTP: discovery, authorization code with PKCE and S256, RS256, keys."""

import base64
import hashlib
import json
import secrets
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Self
from urllib.parse import parse_qs, urlencode, urlsplit

from joserfc import jwt
from joserfc.jwk import RSAKey


class SmallProvider:
    """Whoever comes is logged in as `subject` already, as at a provider that knows the browser."""

    def __init__(self, client: str, secret: str) -> None:
        self.client, self.secret, self.subject = client, secret, "ana-1234"
        self.changes: dict[str, Any] = {}
        """Claims that it puts in the place of the right ones."""
        self.key = self.signing = RSAKey.generate_key(2048, {"kid": "one", "use": "sig", "alg": "RS256"})
        self._codes: dict[str, dict[str, str]] = {}
        provider = self

        class Answer(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                path, query = urlsplit(self.path).path, parse_qs(urlsplit(self.path).query)
                if path == "/authorize":
                    self.send_response(302)
                    self.send_header("location", provider.authorize({name: each[0] for name, each in query.items()}))
                    self.end_headers()
                    return
                found = {"/.well-known/openid-configuration": provider.about(),
                         "/keys": {"keys": [provider.key.as_dict(private=False)]}}.get(path)  # fmt: skip
                self.say(200 if found else 404, found or {"error": "not there"})

            def do_POST(self) -> None:
                fields = parse_qs(self.rfile.read(int(self.headers["content-length"])).decode())
                self.say(*provider.token({name: each[0] for name, each in fields.items()}))

            def say(self, status: int, content: dict[str, Any]) -> None:
                body = json.dumps(content).encode()
                self.send_response(status)
                self.send_header("content-type", "application/json")
                self.send_header("content-length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *_: Any) -> None:
                """Keep still."""

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Answer)
        self.issuer = f"http://127.0.0.1:{self._server.server_port}"
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.01})

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._thread.join(30)
        self._server.server_close()

    def about(self) -> dict[str, Any]:
        return {"issuer": self.issuer, "authorization_endpoint": f"{self.issuer}/authorize",
                "token_endpoint": f"{self.issuer}/token", "jwks_uri": f"{self.issuer}/keys"}  # fmt: skip

    def authorize(self, query: dict[str, str]) -> str:
        """Where the browser is sent back to."""
        assert query["client_id"] == self.client
        assert query["code_challenge_method"] == "S256"
        code = secrets.token_urlsafe(16)
        self._codes[code] = query
        return f"{query['redirect_uri']}?{urlencode({'code': code, 'state': query['state']})}"

    def token(self, fields: dict[str, str]) -> tuple[int, dict[str, Any]]:
        """The token for a code, once."""
        query = self._codes.pop(fields.get("code", ""), None)
        challenge = base64.urlsafe_b64encode(hashlib.sha256(fields.get("code_verifier", "").encode()).digest())
        if query is None or fields.get("client_secret") != self.secret:
            return 400, {"error": "invalid_grant"}
        same = (query["redirect_uri"], query["code_challenge"])
        if (fields["redirect_uri"], challenge.rstrip(b"=").decode()) != same:
            return 400, {"error": "invalid_grant"}
        now = int(time.time())
        claims = {"iss": self.issuer, "aud": self.client, "sub": self.subject, "iat": now, "exp": now + 300,
                  "nonce": query["nonce"]} | self.changes  # fmt: skip
        token = jwt.encode({"alg": "RS256", "kid": "one"}, claims, self.signing)
        return 200, {"access_token": "a", "token_type": "Bearer", "id_token": token}
