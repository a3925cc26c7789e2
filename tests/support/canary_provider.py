"""A provider that says canaries: in its answers, its refusals and every word of its errors, as the job's alias asks."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread
from typing import Any, Final

import orjson

_USAGE: Final = {"prompt_tokens": 10, "completion_tokens": 5}


@contextmanager
def canary_provider(word: str) -> Iterator[str]:
    """Give the base URL of a provider, by model: ``sim-ok``, ``sim-refuse``, ``sim-fail``, ``sim-malformed``."""

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self) -> None:
            length = int(self.headers["content-length"])
            status, body = _answer(orjson.loads(self.rfile.read(length))["model"], word)
            self.send_response(status, f"{word} reason")
            self.send_header("content-type", "application/json")
            self.send_header("content-length", str(len(body)))
            self.send_header("x-said", word)
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *arguments: Any) -> None:
            """Say nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}/v1"
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def _answer(model: str, word: str) -> tuple[int, bytes]:
    match model:
        case "sim-malformed":
            return 200, f"{{ {word} is no JSON".encode()
        case "sim-fail":
            error = {"message": f"{word} failed", "type": f"{word}_type", "code": f"{word}_code", "param": word}
            return 400, orjson.dumps({"error": error})
        case "sim-refuse":
            message: dict[str, Any] = {"role": "assistant", "content": None, "refusal": f"{word} I will not"}
        case _:
            message = {"role": "assistant", "content": f"{word} answered", "annotations": [word]}
    choice = {"index": 0, "message": message, "finish_reason": "stop", "logprobs": word}
    return 200, orjson.dumps({"id": word, "choices": [choice], "usage": _USAGE, "system_fingerprint": word})
