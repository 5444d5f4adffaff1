"""A small static server as a site meets it in public: under a sub-path, compressed, with a strict content policy."""

from __future__ import annotations

import gzip
import mimetypes
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from functools import cache
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import unquote, urlsplit

PREFIX = "/some/where/"
POLICY = (
    "default-src 'self'; script-src 'self' 'unsafe-inline' 'wasm-unsafe-eval'; "
    "style-src 'self' 'unsafe-inline'; img-src 'self' data:"
)
COMPRESSED = ("text/", "application/javascript", "application/json", "application/wasm", "image/svg+xml")
TYPES = {".mjs": "text/javascript", ".js": "text/javascript", ".wasm": "application/wasm", ".csv": "text/csv"}


@contextmanager
def serving(folder: Path, port: int = 0) -> Iterator[str]:
    """Serve the folder until the block ends; gives the address of its root. Stopped, it leaves no thread behind."""
    server = ThreadingHTTPServer(("127.0.0.1", port), handler(folder))
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}{PREFIX}"
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def handler(folder: Path) -> type[BaseHTTPRequestHandler]:
    """Answers GET for the files of one folder."""
    root = folder.resolve()

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            path = file_at(root, self.path)
            if path is None:
                self.answer(404, b"not here", "text/plain", compressed=False)
                return
            kind = TYPES.get(path.suffix) or mimetypes.guess_type(path.name)[0] or "application/octet-stream"
            compressed = kind.startswith(COMPRESSED) and "gzip" in self.headers.get("Accept-Encoding", "")
            self.answer(200, content(path, path.stat().st_mtime_ns, compressed), kind, compressed)

        def answer(self, status: int, body: bytes, kind: str, compressed: bool) -> None:
            self.send_response(status)
            self.send_header("Content-Type", kind + ("; charset=utf-8" if kind.startswith("text/") else ""))
            self.send_header("Content-Length", str(len(body)))
            self.send_header("Content-Security-Policy", POLICY)
            if compressed:
                self.send_header("Content-Encoding", "gzip")
            with suppress(ConnectionError):  # the reader left, or stopped a cell while it loaded
                self.end_headers()
                self.wfile.write(body)

        def log_message(self, format: str, *arguments: object) -> None:
            """Says nothing: the tests speak."""

    return Handler


def file_at(root: Path, address: str) -> Path | None:
    """The file under the sub-path that the address names; a folder's is its index.html."""
    path = unquote(urlsplit(address).path)
    if not path.startswith(PREFIX):
        return None
    found = (root / path.removeprefix(PREFIX)).resolve()
    found = found / "index.html" if found.is_dir() else found
    return found if found.is_relative_to(root) and found.is_file() else None


@cache
def content(path: Path, changed: int, compressed: bool) -> bytes:
    """The file's bytes, packed once per version."""
    return gzip.compress(path.read_bytes(), 6, mtime=0) if compressed else path.read_bytes()
