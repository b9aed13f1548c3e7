"""An internal automation that hears of clicks over NATS instead of HTTP.

A durable JetStream consumer of its own keeps its place while this does not run. Each message is worked off in one transaction with
the note of its `event_id`, and acknowledged afterwards: a message that comes again changes nothing. Of a click the highest
revision counts. What cannot be read is put aside, so that it does not come for ever.

    NATS_URL=nats://127.0.0.1:4222 ./run nats_automation

The contract is in proto/: streams, subjects, messages. Clicks are what Clickwire knows, before any endpoint's filter.
"""

import asyncio
import os
import sqlite3
import sys
import tempfile
from pathlib import Path

import nats
from grpc_tools import protoc
from nats.errors import TimeoutError as NothingCame
from nats.js.api import AckPolicy, ConsumerConfig

# The messages, in Python, from the files that describe them.
PROTO = Path(os.environ.get("PROTO", Path(__file__).resolve().parents[2] / "proto"))
WELL_KNOWN = Path(protoc.__file__).with_name("_proto")
generated = tempfile.TemporaryDirectory()
if protoc.main(["", f"-I{PROTO}", f"-I{WELL_KNOWN}", f"--python_out={generated.name}", "clickwire/events/v1/click.proto"]):
    sys.exit(f"no messages could be made of {PROTO}: name the folder `proto` of Clickwire in PROTO")
sys.path.insert(0, generated.name)
from clickwire.events.v1.click_pb2 import VERDICT_HUMAN, EnrichedClick  # noqa: E402

FILE = os.environ.get("AUTOMATION_FILE", "automation.sqlite3")
STREAM = "ENRICHED"
# never the name of one of Clickwire's own: a message is for one reader of a consumer
CONSUMER = os.environ.get("CONSUMER", "ext-automation-clicks")
WORKSPACE = os.environ.get("WORKSPACE", "*")
SUBJECTS = [f"clickwire.clicks.enriched.{WORKSPACE}.*", f"clickwire.clicks.amended.{WORKSPACE}"]
BATCH_MAX = 100
# What was not acknowledged by then comes again.
ACK_SECONDS = 30
# What cannot be worked off now comes again after this time; never at once, or it comes again and again.
RETRY_SECONDS = 5

SCHEMA = """
PRAGMA journal_mode = WAL;
PRAGMA synchronous = FULL;
CREATE TABLE IF NOT EXISTS handled (event_id TEXT PRIMARY KEY);
CREATE TABLE IF NOT EXISTS clicks (
    click_id TEXT PRIMARY KEY, revision INTEGER NOT NULL, is_human INTEGER NOT NULL, contact_id TEXT, url TEXT, city TEXT);
"""


def handle(db, telling):
    """What the automation does with a telling of a click; here it keeps a table. In one transaction."""
    with db:
        is_new = db.execute("INSERT OR IGNORE INTO handled VALUES (?)", (telling.event_id,)).rowcount
        if not is_new:
            return "known"
        if telling.test:
            return "a test"
        if telling.erased:
            return "of a contact that was erased"
        link, revision = telling.click.link, len(telling.earlier)
        is_human = telling.automation.verdict == VERDICT_HUMAN
        db.execute(
            """INSERT INTO clicks VALUES (?, ?, ?, ?, ?, ?)
               ON CONFLICT (click_id) DO UPDATE SET revision = excluded.revision, is_human = excluded.is_human
               WHERE excluded.revision > clicks.revision""",
            (
                telling.click.click_id, revision, is_human, link.contact_id or None, link.original_url,
                telling.location.city or None,
            ),
        )
        return f"{'a person' if is_human else 'no person'}, revision {revision}"


async def main():
    db = sqlite3.connect(FILE, timeout=30)
    db.executescript(SCHEMA)
    connection = await nats.connect(os.environ.get("NATS_URL", "nats://127.0.0.1:4222"), max_reconnect_attempts=-1)
    jetstream = connection.jetstream()
    config = ConsumerConfig(
        durable_name=CONSUMER,
        filter_subjects=SUBJECTS,
        ack_policy=AckPolicy.EXPLICIT,
        ack_wait=ACK_SECONDS,
        max_ack_pending=1000,
        inactive_threshold=7 * 24 * 3600.0,  # a consumer that nobody reads goes after a week
    )
    await jetstream.add_consumer(STREAM, config)
    subscription = await jetstream.pull_subscribe_bind(CONSUMER, STREAM)
    print(f"following {', '.join(SUBJECTS)} as {CONSUMER}", flush=True)
    while True:
        try:
            messages = await subscription.fetch(BATCH_MAX, timeout=5)
        except NothingCame:
            continue
        for message in messages:
            try:
                telling = EnrichedClick.FromString(message.data)
            except Exception as error:
                print(f"put aside, it cannot be read: {message.subject}: {error}", flush=True)
                await message.term()
                continue
            try:
                print(telling.event_id, handle(db, telling), flush=True)
            except sqlite3.Error as error:
                print(f"{telling.event_id}: trying again: {error}", flush=True)
                await message.nak(delay=RETRY_SECONDS)
                continue
            await message.ack()


try:
    asyncio.run(main())
except KeyboardInterrupt:
    pass
