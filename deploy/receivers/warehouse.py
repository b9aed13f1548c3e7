"""Loads events into a warehouse in batches; an SQLite file stands for it here.

Requests wait together for up to a fifth of a second, are written in one transaction, and are answered when the disk has it: many
events cost one write, and none is acknowledged that could still be lost. The same webhook-id again is one row. `events` keeps
all that was told, unknown types too; the view `clicks` has each click once, at its highest `revision`, without tests.

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
BATCH_MAX = 500
LINGER_SECONDS = 0.2
# Clickwire gives up on an answer after 15.
WRITE_SECONDS_MAX = 12

SCHEMA = """
PRAGMA journal_mode = WAL;
PRAGMA synchronous = FULL;
CREATE TABLE IF NOT EXISTS events (
    webhook_id TEXT PRIMARY KEY, type TEXT NOT NULL, click_id TEXT, revision INTEGER, timestamp TEXT NOT NULL, data TEXT NOT NULL);
CREATE INDEX IF NOT EXISTS events_of_click ON events (click_id, revision);
CREATE VIEW IF NOT EXISTS clicks AS
SELECT click_id, max(revision) AS revision, timestamp AS clicked_at,
       json_extract(data, '$.automation.verdict') AS verdict, json_extract(data, '$.campaign_id') AS campaign_id,
       json_extract(data, '$.contact_id') AS contact_id, json_extract(data, '$.link.id') AS link_id,
       json_extract(data, '$.location.country') AS country, json_extract(data, '$.device.type') AS device
FROM events WHERE click_id IS NOT NULL AND NOT json_extract(data, '$.test') GROUP BY click_id;
"""

# bounded: beyond, requests wait for their turn in it
waiting = queue.Queue(maxsize=10 * BATCH_MAX)


class Entry:
    """An event on its way, and whether it arrived."""

    def __init__(self, webhook_id, event):
        data = event["data"]
        self.row = (
            webhook_id, event["type"], data.get("click_id"), data.get("revision"), event["timestamp"], json.dumps(data),
        )
        self.is_over = threading.Event()
        self.error = None


def keep(webhook_id, event):
    entry = Entry(webhook_id, event)
    waiting.put(entry, timeout=WRITE_SECONDS_MAX)
    if not entry.is_over.wait(WRITE_SECONDS_MAX):
        raise TimeoutError("the warehouse is slow: it comes again")
    if entry.error:
        raise entry.error


def next_batch():
    batch = [waiting.get()]
    until = time.monotonic() + LINGER_SECONDS
    while len(batch) < BATCH_MAX:
        try:
            batch.append(waiting.get(timeout=max(0, until - time.monotonic())))
        except queue.Empty:
            break
    return batch


def load():
    db = sqlite3.connect(FILE, timeout=5)
    db.executescript(SCHEMA)
    is_ready.set()
    while True:
        batch = next_batch()
        error = None
        try:
            with db:  # its commit returns when the disk has it
                before = db.total_changes
                db.executemany("INSERT OR IGNORE INTO events VALUES (?, ?, ?, ?, ?, ?)", [entry.row for entry in batch])
            say(f"loaded {db.total_changes - before} of {len(batch)}")
        except sqlite3.Error as failure:
            error = failure
        for entry in batch:
            entry.error = error
            entry.is_over.set()


is_ready = threading.Event()
threading.Thread(target=load, daemon=True).start()
is_ready.wait()
serve(keep)
