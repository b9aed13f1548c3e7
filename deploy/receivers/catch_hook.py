"""A plain catch-hook, as automation tools offer one: takes whatever is posted, checks nothing, and shows the last of it.

To look at what arrives, and to try out what stands behind such a hook. It does not verify signatures, so anybody who knows the
URL can post to it: let nothing happen by itself here that costs something. An event that was there before is marked, not hidden.

    ./run catch_hook        then post to http://127.0.0.1:9000/anything, and look at http://127.0.0.1:9000/
"""

import html
import json
import os
import threading
from collections import Counter, deque
from datetime import datetime, timezone
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

LAST = int(os.environ.get("LAST", "100"))
BODY_BYTES_MAX = 1024 * 1024
SHOWN_HEADERS = ("webhook-id", "webhook-timestamp", "content-type", "user-agent", "clickwire-replayed")

# the oldest goes when a new one comes
caught = deque(maxlen=LAST)
lock = threading.Lock()


def events_in(body):
    """What is told: the id of each event with what it is; none when they are not Clickwire's."""
    try:
        told = json.loads(body)
        events = told["data"] if told["type"] == "batch" else [told]
        return {str(event["id"]): describe(event) for event in events}
    except (ValueError, TypeError, LookupError, AttributeError):
        return {}


def describe(event):
    """What an event is, in a few words."""
    kind, data = str(event["type"]), event["data"]
    if kind == "link.click.amended":
        kind += f" (revision {data.get('revision')}: was {data.get('previous_verdict')})"
    return kind + (" (a test)" if data.get("test") else "")


def page():
    rows = []
    with lock:
        hooks = list(caught)
    for hook in reversed(hooks):
        try:
            body = json.dumps(json.loads(hook["body"]), indent=2, ensure_ascii=False)
        except ValueError:
            body = hook["body"]
        kinds = Counter(hook["events"].values()).items()
        what = ", ".join(kind if count == 1 else f"{count} × {kind}" for kind, count in kinds)
        again = " &times;2 or more" if hook["is_duplicate"] else ""
        rows.append(
            f"<details><summary>{hook['at']} {html.escape(hook['path'])} <b>{html.escape(what)}</b>{again}"
            f"</summary><pre>{html.escape(json.dumps(hook['headers'], indent=2))}\n\n{html.escape(body)}</pre></details>"
        )
    return f"<!doctype html><meta charset=utf-8><title>Caught</title><h1>{len(hooks)} caught</h1>" + "\n".join(rows)


class Hook(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    timeout = 30

    def do_POST(self):
        try:
            size = int(self.headers.get("content-length", "0"))
        except ValueError:
            size = -1
        if not 0 <= size <= BODY_BYTES_MAX:
            self.close_connection = True
            return self.answer(413, "text/plain", "too large\n")
        body = self.rfile.read(size).decode("utf-8", "replace")
        headers = {name: self.headers[name] for name in SHOWN_HEADERS if self.headers[name]}
        events = events_in(body) or {headers.get("webhook-id", "-"): "no event of Clickwire"}
        hook = {"path": self.path, "headers": headers, "body": body, "events": events}
        with lock:
            again = {event_id for hook in caught for event_id in hook["events"]} & events.keys() - {"-"}
            hook["at"] = datetime.now(timezone.utc).isoformat(timespec="milliseconds")
            hook["is_duplicate"] = bool(again)
            caught.append(hook)
        for event_id, what in events.items():
            print(event_id, what, "(a duplicate)" if event_id in again else "", flush=True)
        self.answer(200, "application/json", '{"status": "success"}\n')

    def do_GET(self):
        if self.path == "/last.json":
            with lock:
                return self.answer(200, "application/json", json.dumps(list(caught)))
        self.answer(200, "text/html; charset=utf-8", page())

    def answer(self, status, content_type, text):
        body = text.encode()
        self.send_response(status)
        self.send_header("content-type", content_type)
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_):
        pass


address = (os.environ.get("HOST", "127.0.0.1"), int(os.environ.get("PORT", "9000")))
with ThreadingHTTPServer(address, Hook) as server:
    print(f"receiving on http://{server.server_address[0]}:{server.server_address[1]}/", flush=True)
    try:
        server.serve_forever()
    except KeyboardInterrupt:
        pass
