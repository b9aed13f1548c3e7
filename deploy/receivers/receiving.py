"""What the receivers in Python share: take a webhook, verify it, and answer once it is kept.

`serve(keep)` calls `keep(events)` for each webhook whose signature verifies: with one event, or with all of a batch. Return from
it when they are kept so that they survive a crash, and work later: whatever takes longer than 15 seconds is sent again. An
exception answers 500, and all of them come again. An event that comes again, alone or in another batch, has the same `id`.
"""

import os
import sys
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from standardwebhooks import Webhook, WebhookVerificationError

# Clickwire sends no more; whoever sends more is somebody else.
BODY_BYTES_MAX = 1024 * 1024
# Somebody who begins a request and does not go on is not waited for longer.
IDLE_SECONDS = 30


def say(*words):
    print(*words, flush=True)


def serve(keep):
    """Receives until it is stopped. WEBHOOK_SECRET may hold several secrets with spaces between, while one is exchanged."""
    webhooks = [Webhook(secret) for secret in os.environ["WEBHOOK_SECRET"].split()]

    def verified(body, headers):
        for webhook in webhooks:
            try:
                return webhook.verify(body, headers)
            except (WebhookVerificationError, ValueError):
                continue  # of another secret, or not even in the form of a signature
        return None

    class Receiver(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"  # connections are kept, as Clickwire likes it
        timeout = IDLE_SECONDS

        def do_POST(self):
            try:
                size = int(self.headers["content-length"])
            except (TypeError, ValueError):
                size = -1
            if not 0 <= size <= BODY_BYTES_MAX:
                self.close_connection = True  # the body is left unread
                return self.answer(411 if size < 0 else 413)
            # the bytes as they came: JSON that was parsed and written again is not what was signed
            told = verified(self.rfile.read(size), dict(self.headers))
            if told is None:
                return self.answer(400)
            try:
                keep(told["data"] if told["type"] == "batch" else [told])
            except Exception as error:  # whatever it is, the events must come again
                say(f"{self.headers['webhook-id']}: not kept: {error!r}")
                return self.answer(500)
            self.answer(204)

        def answer(self, status):
            self.send_response(status)
            if status != 204:
                self.send_header("content-length", "0")
            self.end_headers()

        def log_message(self, *_):
            pass

    address = (os.environ.get("HOST", "127.0.0.1"), int(os.environ.get("PORT", "9000")))
    with ThreadingHTTPServer(address, Receiver) as server:
        say(f"receiving on http://{server.server_address[0]}:{server.server_address[1]}/")
        try:
            server.serve_forever()
        except KeyboardInterrupt:
            sys.exit(0)
