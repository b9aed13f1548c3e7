// Makes a follow-up task when a contact clicks: once for each contact and link, and only for people.
//
// An event is written into a journal, which is flushed to the disk before the answer; the task is made afterwards. Start it
// again after a crash, and it makes what is still open. The same event again, alone or in a batch, makes nothing. When a click
// turns out to be a machine's (`link.click.amended`), its task is withdrawn; when it turns out to be a person's, it is made.
//
//     WEBHOOK_SECRET=whsec_... ./run tasks
//
// TASKS_URL is where tasks are made: it gets a POST with the task as JSON, and a DELETE of TASKS_URL/{id} for one that is withdrawn.
// The id is the same on each try. Without it tasks are only printed.

import { open, readFile } from "node:fs/promises";
import { createServer } from "node:http";
import { Webhook } from "standardwebhooks";

const JOURNAL = process.env.TASKS_FILE ?? "tasks.ndjson";
const BODY_BYTES_MAX = 1024 * 1024;
const RETRY_MS = 5000;
const TASKS_TIMEOUT_MS = 30_000;

const webhooks = process.env.WEBHOOK_SECRET.split(/\s+/).filter(Boolean).map((secret) => new Webhook(secret));

const seen = new Set(); // ids of events
const clicks = new Map(); // click id -> the highest revision that was told, with its verdict
const tasks = new Map(); // task id -> { task, humans: click ids that speak for it, made: whether it is there }
const changed = new Set(); // ids of tasks that may have to be made or withdrawn

// What an entry of the journal changes; the same when it is written and when it is read again.
function learn(entry) {
  if (entry.made !== undefined) {
    tasks.get(entry.id).made = entry.made;
    return;
  }
  seen.add(entry.eventId);
  const { click } = entry;
  if (!click || click.revision <= (clicks.get(click.id)?.revision ?? -1)) return;
  clicks.set(click.id, click);
  const { task } = entry;
  const known = tasks.get(task.id) ?? { task, humans: new Set(), made: false };
  tasks.set(task.id, known);
  click.verdict === "human" ? known.humans.add(click.id) : known.humans.delete(click.id);
  changed.add(task.id);
}

// What there is to write down of an event.
function entryOf(event) {
  const isClick = event.type === "link.clicked" || event.type === "link.click.amended";
  const { id: eventId, data } = event;
  if (!isClick || data.test || !data.contact_id) return { eventId, ignored: data.test ? "a test" : event.type };
  return {
    eventId,
    click: { id: data.click_id, revision: data.revision, verdict: data.automation.verdict },
    task: {
      id: `${data.contact_id}/${data.link.id}`,
      contact_id: data.contact_id,
      title: `Follow up: opened ${data.link.original_url}`,
      campaign_id: data.campaign_id,
      clicked_at: data.clicked_at,
    },
  };
}

let journal;
let writing = Promise.resolve();
// One after the other, all on the disk when it resolves.
function write(entries) {
  writing = writing.catch(() => {}).then(async () => {
    await journal.appendFile(entries.map((entry) => JSON.stringify(entry) + "\n").join(""));
    await journal.datasync();
    entries.forEach(learn);
  });
  return writing;
}

async function settle(id) {
  const { task, humans, made } = tasks.get(id);
  const wanted = humans.size > 0;
  if (wanted === made) return;
  console.log(wanted ? "task" : "withdrawn", id, task.title);
  if (process.env.TASKS_URL) {
    const url = process.env.TASKS_URL + (wanted ? "" : `/${encodeURIComponent(id)}`);
    const answer = await fetch(url, {
      method: wanted ? "POST" : "DELETE",
      headers: { "content-type": "application/json", "idempotency-key": id },
      body: wanted ? JSON.stringify(task) : undefined,
      signal: AbortSignal.timeout(TASKS_TIMEOUT_MS),
    });
    if (!answer.ok && answer.status !== 404) throw new Error(`${url} answered ${answer.status}`);
  }
  await write([{ id, made: wanted }]);
}

let isWorking = false;
// The slow part, after the answer: one task at a time.
async function work() {
  if (isWorking) return;
  isWorking = true;
  while (changed.size > 0) {
    const [id] = changed;
    changed.delete(id);
    try {
      await settle(id);
    } catch (error) {
      console.log(`trying again: ${error.message}`);
      changed.add(id);
      await new Promise((resolve) => setTimeout(resolve, RETRY_MS));
    }
  }
  isWorking = false;
}

function verified(body, headers) {
  for (const webhook of webhooks) {
    try {
      return webhook.verify(body, headers);
    } catch {
      // of another secret
    }
  }
  return undefined;
}

async function receive(request, response) {
  const chunks = [];
  let size = 0;
  for await (const chunk of request) {
    size += chunk.length;
    if (size > BODY_BYTES_MAX) return response.writeHead(413, { connection: "close" }).end();
    chunks.push(chunk);
  }
  // the bytes as they came: JSON that was parsed and written again is not what was signed
  const told = verified(Buffer.concat(chunks).toString("utf8"), request.headers);
  if (told === undefined) return response.writeHead(400).end();
  const events = told.type === "batch" ? told.data : [told];
  const entries = events.filter((event) => !seen.has(event.id)).map(entryOf);
  await write(entries);
  for (const { eventId, ignored, click } of entries) {
    console.log(eventId, ignored ? `ignored: ${ignored}` : click.verdict);
  }
  response.writeHead(204).end();
  work();
}

let isTorn = false;
try {
  for (const line of (await readFile(JOURNAL, "utf8")).split("\n")) {
    try {
      if (line) learn(JSON.parse(line));
    } catch {
      isTorn = true;
      console.log("the last line of the journal was cut off; its event comes again");
    }
  }
} catch (error) {
  if (error.code !== "ENOENT") throw error;
}
journal = await open(JOURNAL, "a");
if (isTorn) await journal.appendFile("\n"); // what comes next is a line of its own
const server = createServer((request, response) => {
  receive(request, response).catch((error) => {
    console.log(`not kept: ${error.message}`);
    response.writeHead(500).end();
  });
});
server.listen(Number(process.env.PORT ?? 9000), process.env.HOST ?? "127.0.0.1", () => {
  console.log(`receiving on http://${server.address().address}:${server.address().port}/`);
  work();
});
