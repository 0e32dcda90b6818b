"""A site's process for tests, which can be killed: `python -m tests.connection.resident FOLDER`.

FOLDER/site.json says what it is: address, ca, app, and how far its clock is off. In FOLDER it keeps `key.pem`, its
journal, `told` (what it was doing, a line each) and `calls` (a line for every message that its app was given).
"""

import json
import signal
import sys
import threading
import time
from dataclasses import asdict
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import load_pem_private_key
from flwr.app import ConfigRecord, Context, Message, RecordDict
from flwr.app.message import message as flower_messages
from flwr.clientapp import ClientApp
from flwr.supercore import date

from client.connection.fleet_client import Endpoint
from client.connection.node import serve
from client.connection.retry import ConnectionStatus


def count(context: Context) -> int:
    """How many messages of this run the app has been given, itself included; it lives in context.state."""
    number = int(context.state.config_records["seen"]["n"]) + 1 if "seen" in context.state else 1
    context.state["seen"] = ConfigRecord({"n": number})
    return number


def site(folder: Path) -> ClientApp:
    """An app that echoes, and tells how many messages it has seen.

    `slow` waits until FOLDER/go exists; `hangs` does so for ever, the first time.
    """
    app = ClientApp()

    def answer(message: Message) -> None:
        with (folder / "calls").open("a", encoding="utf-8") as calls:
            calls.write(f"{message.metadata.message_id}\n")

    @app.query("echo")
    def echo(message: Message, context: Context) -> Message:
        answer(message)
        content = RecordDict({"count": ConfigRecord({"n": count(context)})})
        content.update(message.content)
        return Message(content, reply_to=message)

    @app.query("slow")
    def slow(message: Message, context: Context) -> Message:
        answer(message)
        while not (folder / "go").exists():
            time.sleep(0.01)
        return Message(RecordDict({"count": ConfigRecord({"n": count(context)})}), reply_to=message)

    @app.query("hangs")
    def hangs(message: Message, context: Context) -> Message:
        answer(message)
        while True:
            time.sleep(60)

    @app.query("fails")
    def fails(message: Message, context: Context) -> Message:
        raise KeyError("a patient's name")

    return app


def set_clock_off(seconds: float) -> None:
    """As if this machine's clock were off, for whatever asks Python or Flower for the time."""
    right = time.time, date.now
    time.time = lambda: right[0]() + seconds
    date.now = lambda: date.datetime.datetime.fromtimestamp(time.time(), date.datetime.UTC)
    flower_messages.now = date.now


def main(folder: Path) -> None:
    """Serve until SIGTERM."""
    told = json.loads((folder / "site.json").read_text(encoding="utf-8"))
    key = load_pem_private_key((folder / "key.pem").read_bytes(), None)
    assert isinstance(key, ec.EllipticCurvePrivateKey)
    stop = threading.Event()
    signal.signal(signal.SIGTERM, lambda *_: stop.set())
    if told["clock_off_s"]:
        set_clock_off(told["clock_off_s"])

    def tell(doing: ConnectionStatus) -> None:
        with (folder / "told").open("a", encoding="utf-8") as file:
            file.write(json.dumps(asdict(doing)) + "\n")

    serve(Endpoint(told["address"], Path(told["ca"]), key), site(folder), {}, folder / "journal", tell, stop)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
