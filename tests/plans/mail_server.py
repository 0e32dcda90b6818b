"""A mail server on loopback that keeps what it gets: STARTTLS, then AUTH PLAIN, then a mail. RFC 5321, 3207, 4954."""

import base64
import socket
import ssl
import threading
from email import message_from_bytes
from email.message import Message
from pathlib import Path
from typing import Self


class MailServer:
    """Takes mail of whoever knows the password.

    Args:
        tls: the folder of server.crt and server.key; None: in the clear, and without a password.
        turns_away: how many connections it turns away before it takes mail.
    """

    def __init__(self, tls: Path | None = None, password: str = "", turns_away: int = 0) -> None:
        self.mails: list[Message] = []
        self.clear: list[str] = []
        """Lines that came in the clear."""
        self._password, self._turns_away, self._tls = password, turns_away, None
        if tls:
            self._tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            self._tls.load_cert_chain(tls / "server.crt", tls / "server.key")
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = int(self._listener.getsockname()[1])
        self._thread = threading.Thread(target=self._serve)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        with socket.create_connection(("127.0.0.1", self.port)) as last:
            last.sendall(b"STOP\r\n")
            self._thread.join(30)
        self._listener.close()

    def _serve(self) -> None:
        going_on = True
        while going_on:
            line, _ = self._listener.accept()
            line.settimeout(20)
            try:
                going_on = self._talk(line)
            except (OSError, ssl.SSLError):
                pass
            finally:
                line.close()

    def _talk(self, line: socket.socket) -> bool:
        if self._turns_away:
            self._turns_away -= 1
            line.sendall(b"421 busy\r\n")
            return True
        may_send = not self._password
        line.sendall(b"220 mail\r\n")
        while command := _read_line(line):
            if not isinstance(line, ssl.SSLSocket):
                self.clear.append(command)
            word = command.split()[0].upper()
            if word == "STOP":
                return False
            if word == "EHLO":
                offers = ["250-mail"] + (["250-STARTTLS"] if self._tls else []) + ["250 AUTH PLAIN"]
                line.sendall("\r\n".join(offers).encode() + b"\r\n")
            elif word == "STARTTLS" and self._tls:
                line.sendall(b"220 go\r\n")
                line = self._tls.wrap_socket(line, server_side=True)
            elif word == "AUTH":
                may_send = base64.b64decode(command.split()[2]).split(b"\0")[-1].decode() == self._password
                line.sendall(b"235 yes\r\n" if may_send else b"535 no\r\n")
            elif word == "DATA" and may_send:
                line.sendall(b"354 send\r\n")
                content = b""
                while (text := _read_line(line)) != ".":
                    content += text.encode() + b"\r\n"
                self.mails.append(message_from_bytes(content))
                line.sendall(b"250 taken\r\n")
            elif word == "QUIT":
                line.sendall(b"221 bye\r\n")
                line.close()
                return True
            else:
                line.sendall(b"250 ok\r\n" if may_send else b"530 who are you\r\n")
        return True


def _read_line(line: socket.socket) -> str:
    content = b""
    while not content.endswith(b"\r\n"):
        if not (byte := line.recv(1)):
            return ""
        content += byte
    return content[:-2].decode()
