"""A download is whole and verified, or it is not there."""

import hashlib
import http.server
import threading

import pytest

from client.sources.download import fetch
from common.config import Download
from common.errors import DataError

CONTENT = bytes(range(256)) * 5000


class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        if self.path == "/gone":
            self.send_error(404)
            return
        self.send_response(200)
        self.send_header("Content-Length", str(len(CONTENT)))
        self.end_headers()
        self.wfile.write(CONTENT)

    def log_message(self, *_):
        pass


@pytest.fixture(scope="module")
def server():
    with http.server.HTTPServer(("127.0.0.1", 0), Handler) as running:
        thread = threading.Thread(target=running.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{running.server_port}"
        running.shutdown()
        thread.join()


def wanted(url, content):
    # Not validated: a configuration insists on https.
    return Download.model_construct(url=url, md5=hashlib.md5(content).hexdigest(), sha256=None)  # noqa: S324


def test_the_right_file_is_kept(server, tmp_path):
    fetch(wanted(f"{server}/data.npz", CONTENT), tmp_path / "new" / "data.npz")
    assert (tmp_path / "new" / "data.npz").read_bytes() == CONTENT


@pytest.mark.parametrize(("place", "what"), [("/data.npz", "its md5 is"), ("/gone", "cannot be fetched .*404")])
def test_anything_else_leaves_nothing(server, tmp_path, place, what):
    with pytest.raises(DataError, match=what):
        fetch(wanted(server + place, b"other"), tmp_path / "data.npz")
    assert list(tmp_path.iterdir()) == []


def test_without_a_network_the_error_says_where_to_put_it(tmp_path):
    with pytest.raises(DataError, match=r"Fetch http://127.0.0.1:9/x by another way to"):
        fetch(wanted("http://127.0.0.1:9/x", b""), tmp_path / "data.npz")
