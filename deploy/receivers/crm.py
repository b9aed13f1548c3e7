"""Keeps the timeline of each contact in a CRM, which an SQLite file stands for here.

An event is kept in `inbox` under its id and answered; a thread of its own works it off, so that a slow CRM keeps nobody
waiting. The same event again, alone or in a batch, changes nothing. Of a click the highest `revision` counts: when a click turns out to be a
machine's (`link.click.amended`), it leaves the contact's count again, in whatever order the two arrive.

    WEBHOOK_SECRET=whsec_... ./run crm
"""

import json
import os
import sqlite3
import threading

from receiving import say, serve

FILE = os.environ.get("CRM_FILE", "crm.sqlite3")
# Before something that failed is tried again.
PAUSE_SECONDS = 5

SCHEMA = """
CREATE TABLE IF NOT EXISTS inbox (
    event_id TEXT PRIMARY KEY, event TEXT NOT NULL, is_done INTEGER NOT NULL DEFAULT 0);
CREATE TABLE IF NOT EXISTS clicks (
    click_id TEXT PRIMARY KEY, contact_id TEXT NOT NULL, revision INTEGER NOT NULL, verdict TEXT NOT NULL,
    clicked_at TEXT NOT NULL, url TEXT NOT NULL, campaign_id TEXT, city TEXT, country TEXT, device TEXT);
CREATE INDEX IF NOT EXISTS clicks_of_contact ON clicks (contact_id);
CREATE TABLE IF NOT EXISTS contacts (
    contact_id TEXT PRIMARY KEY, clicks INTEGER NOT NULL, last_clicked_at TEXT);
"""

wake = threading.Event()
local = threading.local()


def database():
    """A connection for each thread. Commits wait for the disk."""
    if not hasattr(local, "database"):
        local.database = sqlite3.connect(FILE, timeout=30)
        local.database.executescript("PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL;" + SCHEMA)
    return local.database


def keep(events):
    rows = [(event["id"], json.dumps(event)) for event in events]
    with database() as db:
        db.executemany("INSERT OR IGNORE INTO inbox (event_id, event) VALUES (?, ?)", rows)
    wake.set()


def work():
    """Works off what is in the inbox, also what a run before has left there."""
    while True:
        wake.clear()
        try:
            for event_id, event in database().execute(
                "SELECT event_id, event FROM inbox WHERE NOT is_done ORDER BY rowid LIMIT 100"
            ).fetchall():
                with database() as db:
                    say(event_id, apply(db, json.loads(event)))
                    db.execute("UPDATE inbox SET is_done = 1 WHERE event_id = ?", (event_id,))
                wake.set()
            wake.wait()
        except Exception as error:
            say(f"the CRM does not take it, trying again: {error!r}")
            wake.wait(PAUSE_SECONDS)


def apply(db, event):
    """Puts one event into the CRM, in one transaction; says what was done."""
    if event["type"] not in ("link.clicked", "link.click.amended"):
        return f"ignored: {event['type']} is nothing for the CRM"
    click = event["data"]
    if click["test"]:
        return "a test: it works, and nothing is stored"
    if not click["contact_id"]:
        return "ignored: the link was for nobody in particular"
    device = " ".join(filter(None, (click["device"]["brand"], click["device"]["model"])))
    row = (
        click["click_id"], click["contact_id"], click["revision"], click["automation"]["verdict"], click["clicked_at"],
        click["link"]["original_url"], click["campaign_id"], click["location"]["city"], click["location"]["country"], device,
    )
    changed = db.execute(
        """INSERT INTO clicks VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)
           ON CONFLICT (click_id) DO UPDATE SET revision = excluded.revision, verdict = excluded.verdict
           WHERE excluded.revision > clicks.revision""",
        row,
    ).rowcount
    if not changed:
        return "known: nothing changes"
    # counted again from the clicks, so that an amendment counts too
    db.execute(
        """INSERT INTO contacts (contact_id, clicks, last_clicked_at)
           SELECT ?1, count(*), max(clicked_at) FROM clicks WHERE contact_id = ?1 AND verdict = 'human'
           ON CONFLICT (contact_id) DO UPDATE SET clicks = excluded.clicks, last_clicked_at = excluded.last_clicked_at""",
        (click["contact_id"],),
    )
    return f"{click['contact_id']}: {click['automation']['verdict']}, revision {click['revision']}"


database()
threading.Thread(target=work, daemon=True).start()
serve(keep)
