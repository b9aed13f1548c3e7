"""Loads events into a warehouse in batches; an SQLite file stands for it here.

Requests wait together for up to a fifth of a second, are written in one transaction, and are answered when the disk has it: many
events cost one write, and none is acknowledged that could still be lost. The same event again is one row. `events` keeps all that
was told, alone and in batches, unknown types too; the view `clicks` has each click once, at its highest `revision`, without tests.

    WEBHOOK_SECRET=whsec_... ./run warehouse
    sqlite3 warehouse.sqlite3 "SELECT country, count(*) FROM clicks WHERE verdict = 'human' GROUP BY 1"
"""

import json
import os
import queue
import sqlite3
import threading
import time

from receiving import say, serve

FILE = os.environ.get("WAREHOUSE_FILE", "warehouse.sqlite3")
# Most requests that are written together; each has one event, or a batch of them.
REQUESTS_MAX = 500
LINGER_SECONDS = 0.2
# Clickwire gives up on an answer after 15.
WRITE_SECONDS_MAX = 12

SCHEMA = """
PRAGMA journal_mode = WAL;
PRAGMA synchronous = FULL;
CREATE TABLE IF NOT EXISTS events (
    event_id TEXT PRIMARY KEY, type TEXT NOT NULL, click_id TEXT, revision INTEGER, timestamp TEXT NOT NULL, data TEXT NOT NULL);
CREATE INDEX IF NOT EXISTS events_of_click ON events (click_id, revision);
CREATE VIEW IF NOT EXISTS clicks AS
SELECT click_id, max(revision) AS revision, timestamp AS clicked_at,
       json_extract(data, '$.automation.verdict') AS verdict, json_extract(data, '$.campaign_id') AS campaign_id,
       json_extract(data, '$.contact_id') AS contact_id, json_extract(data, '$.link.id') AS link_id,
       json_extract(data, '$.location.country') AS country, json_extract(data, '$.device.type') AS device
FROM events WHERE click_id IS NOT NULL AND NOT json_extract(data, '$.test') GROUP BY click_id;
"""

# bounded: beyond, requests wait for their turn in it
waiting = queue.Queue(maxsize=10 * REQUESTS_MAX)


class Request:
    """The events of a request on their way, and whether they arrived."""

    def __init__(self, events):
        self.rows = [row(event) for event in events]
        self.is_over = threading.Event()
        self.error = None


def row(event):
    data = event["data"]
    return event["id"], event["type"], data.get("click_id"), data.get("revision"), event["timestamp"], json.dumps(data)


def keep(events):
    request = Request(events)
    waiting.put(request, timeout=WRITE_SECONDS_MAX)
    if not request.is_over.wait(WRITE_SECONDS_MAX):
        raise TimeoutError("the warehouse is slow: it comes again")
    if request.error:
        raise request.error


def next_requests():
    requests = [waiting.get()]
    until = time.monotonic() + LINGER_SECONDS
    while len(requests) < REQUESTS_MAX:
        try:
            requests.append(waiting.get(timeout=max(0, until - time.monotonic())))
        except queue.Empty:
            break
    return requests


def load():
    db = sqlite3.connect(FILE, timeout=5)
    db.executescript(SCHEMA)
    is_ready.set()
    while True:
        requests = next_requests()
        rows = [row for request in requests for row in request.rows]
        error = None
        try:
            with db:  # its commit returns when the disk has it
                before = db.total_changes
                db.executemany("INSERT OR IGNORE INTO events VALUES (?, ?, ?, ?, ?, ?)", rows)
            say(f"loaded {db.total_changes - before} of {len(rows)}")
        except sqlite3.Error as failure:
            error = failure
        for request in requests:
            request.error = error
            request.is_over.set()


is_ready = threading.Event()
threading.Thread(target=load, daemon=True).start()
is_ready.wait()
serve(keep)
