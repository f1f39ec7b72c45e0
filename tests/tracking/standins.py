"""Servers that misbehave: between a client and a real MLflow server, or in its place."""

import http.client
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import urlsplit


class Proxy:
    """Passes requests on, or does what ``mode`` says.

    - ``pass``: as if it were not there.
    - ``errors``: answers 500. ``hang``: does not answer.
    - ``lose``: passes requests on, and answers 500 to those that change something: done, but nobody knows.
    - ``page``: answers 200 with a page, as some other server would. ``missing``: answers 404.
    - ``login``: answers 401.
    """

    def __init__(self, behind: str) -> None:
        self.behind, self.mode = behind, "pass"
        self._over = threading.Event()
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), _make_handler(self))
        self._server.daemon_threads = True
        self.uri = f"http://127.0.0.1:{self._server.server_address[1]}"
        threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True).start()

    def hang(self) -> None:
        """Until the proxy is closed."""
        self._over.wait()

    def close(self) -> None:
        """End it."""
        self._over.set()
        self._server.shutdown()
        self._server.server_close()


def _make_handler(proxy: Proxy) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        def _answer(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
            if proxy.mode == "hang":
                return proxy.hang()
            own = {"errors": 500, "page": 200, "missing": 404, "login": 401}.get(proxy.mode)
            if own is not None:
                return self._say(own, b"<html>something else</html>")
            status, content = self._pass_on(body)
            if proxy.mode == "lose" and self.command != "GET" and not self.path.endswith("search"):
                return self._say(500, b"lost")
            return self._say(status, content)

        do_GET = do_POST = do_PATCH = do_PUT = do_DELETE = _answer  # noqa: N815 - the names that http.server calls

        def _pass_on(self, body: bytes) -> tuple[int, bytes]:
            connection = http.client.HTTPConnection(urlsplit(proxy.behind).netloc)
            headers = {"Content-Type": self.headers.get("Content-Type") or "application/json"}
            connection.request(self.command, self.path, body, headers)
            answer = connection.getresponse()
            return answer.status, answer.read()

        def _say(self, status: int, content: bytes) -> None:
            self.send_response(status)
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

        def log_message(self, *_: Any) -> None:
            """Nothing: the test says what matters."""

    return Handler
