"""A deployment of processes, as scripts/test-runbook and scripts/test-upgrade start it: a NATS cluster of three with the users
of deploy/nats/permissions.conf, a PostgreSQL, the five services, people who click, and a subscriber that verifies.

Needs PostgreSQL's programs and nats-server (scripts/needs up).
"""

import base64
import errno
import hashlib
import hmac
import http.client
import http.server
import itertools
import json
import os
import pathlib
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
import urllib.error
import urllib.request

ROOT = pathlib.Path(__file__).resolve().parent.parent
# Where cargo builds.
TARGET = pathlib.Path(os.environ.get("CARGO_TARGET_DIR") or ROOT / "target")
SERVICES = ("redirect", "enrich", "deliver", "record", "api")
USERS = ("operator", *SERVICES)
# Generous: it only ends a run that fails.
LIMIT_SECONDS = 90
# Other people's settings do not reach our processes.
OPENER = urllib.request.build_opener(urllib.request.ProxyHandler({}))


def free_ports(count):
    held = [socket.create_server(("127.0.0.1", 0)) for _ in range(count)]
    ports = [s.getsockname()[1] for s in held]
    for s in held:
        s.close()
    return ports


def wait(what, probe):
    deadline = time.monotonic() + LIMIT_SECONDS
    while time.monotonic() < deadline:
        try:
            if found := probe():
                return found
        except (OSError, ValueError, http.client.HTTPException):
            pass
        time.sleep(0.1)
    raise SystemExit(f"FAILED: {what}")


def fetch(url):
    with OPENER.open(url, timeout=5) as answer:
        return answer.read()


def new_key():
    return base64.b64encode(os.urandom(32)).decode()


class Nats:
    """Three servers."""

    def __init__(self, work):
        self.work, self.passwords = work / "nats", {user: f"first-{user}" for user in USERS}
        self.work.mkdir()
        self.program = subprocess.run([ROOT / "scripts/nats-server"], check=True, capture_output=True, text=True).stdout.strip()
        shutil.copy(ROOT / "deploy/nats/permissions.conf", self.work)
        ports = free_ports(9)
        self.clients, self.monitors, self.routes = ports[:3], ports[3:6], ports[6:]
        self.running = [None] * 3
        for node in range(3):
            self.start(node)
        wait("three servers are a cluster", lambda: all(self.is_well(node) for node in range(3)))

    def configure(self, node):
        users = "\n".join(
            f'{{ user: {user}, password: "{self.passwords[user]}"'
            + ("" if user == "operator" else f", permissions: ${user.upper()}")
            + " }"
            for user in USERS
        )
        routes = ", ".join(f'"nats://127.0.0.1:{port}"' for port in self.routes)
        (self.work / f"{node}.conf").write_text(
            f'server_name: n{node}\nlisten: "127.0.0.1:{self.clients[node]}"\nhttp: "127.0.0.1:{self.monitors[node]}"\n'
            f'include "permissions.conf"\nauthorization {{ users: [\n{users}\n] }}\n'
            f'jetstream {{ store_dir: "{self.work}/{node}", sync_interval: "10s" }}\n'
            f'cluster {{ name: c, listen: "127.0.0.1:{self.routes[node]}", routes: [{routes}] }}\n'
        )

    def start(self, node):
        self.configure(node)
        with (self.work / f"{node}.log").open("a") as log:
            self.running[node] = subprocess.Popen([self.program, "-c", self.work / f"{node}.conf"], stdout=log, stderr=log)

    def is_well(self, node):
        return b'"ok"' in fetch(f"http://127.0.0.1:{self.monitors[node]}/healthz")

    def leader(self):
        for port in self.monitors:
            told = json.loads(fetch(f"http://127.0.0.1:{port}/jsz?streams=1"))
            for account in told.get("account_details", []):
                for stream in account.get("stream_detail", []):
                    if stream["name"] == "CLICKS" and (leader := stream.get("cluster", {}).get("leader")):
                        return leader
        return None

    def kill_leader(self):
        node = int(wait("CLICKS has a leader", self.leader)[1:])
        self.running[node].kill()
        self.running[node].wait()
        return node

    def move_leaders(self):
        """Others lead each stream and each consumer of ours from now on."""
        for stream in ("CLICKS", "ENRICHED", "EVENTS"):
            self.must(f"$JS.API.STREAM.LEADER.STEPDOWN.{stream}")
        for consumer in ("CLICKS.enrich-00", "ENRICHED.deliver", "ENRICHED.record"):
            self.must(f"$JS.API.CONSUMER.LEADER.STEPDOWN.{consumer}")

    def must(self, subject):
        # whose leader has just changed may have none for a moment
        wait(f"{subject} is done", lambda: self.ask(subject).get("success"))

    def freeze(self):
        for process in self.running:
            process.send_signal(signal.SIGSTOP)

    def thaw(self):
        for process in self.running:
            process.send_signal(signal.SIGCONT)

    def change_password(self, user):
        self.passwords[user] = f"second-{user}"
        for node in range(3):
            self.configure(node)
            self.running[node].send_signal(signal.SIGHUP)

    def url(self, user):
        first, *others = (f"127.0.0.1:{port}" for port in self.clients)
        return ",".join([f"nats://{user}:{self.passwords[user]}@{first}", *(f"nats://{other}" for other in others)])

    def refusals(self):
        return sum(file.read_text().count("Permissions Violation") for file in self.work.glob("*.log"))

    def ask(self, subject):
        """One request by the operator, without a client."""
        with socket.create_connection(("127.0.0.1", self.clients[0]), 10) as connection:
            stream = connection.makefile("rwb")
            stream.readline()
            login = json.dumps({"user": "operator", "pass": self.passwords["operator"], "verbose": False})
            stream.write(f"CONNECT {login}\r\nSUB _INBOX.a 1\r\nPUB {subject} _INBOX.a 0\r\n\r\n".encode())
            stream.flush()
            for line in iter(stream.readline, b""):
                if line.startswith(b"MSG"):
                    return json.loads(stream.readline())
        raise OSError("the server hung up")

    def stop(self):
        for process in self.running:
            process.kill()
            process.wait()


class Postgres:
    def __init__(self, work):
        self.data, self.log = work / "postgres", work / "postgres.log"
        self.data.mkdir()
        self.programs = max(pathlib.Path("/usr/lib/postgresql").glob("*/bin/initdb")).parent
        self.user = []
        if os.getuid() == 0:
            shutil.chown(self.data, "postgres")
            self.user = ["setpriv", "--reuid=postgres", "--regid=postgres", "--init-groups", "--"]
        (self.port,) = free_ports(1)
        self.password = "first"
        password_file = work / "postgres-password"
        password_file.write_text(self.password)
        authentication = ("--auth-local=trust", "--auth-host=scram-sha-256", f"--pwfile={password_file}")
        self.run("initdb", "-D", self.data, "--username=clickwire", "--encoding=UTF8", *authentication)
        self.process = None
        self.start()
        self.database = "clickwire"
        self.sql("CREATE DATABASE clickwire", "postgres")

    def run(self, program, *arguments):
        command = [*self.user, self.programs / program, *arguments]
        return subprocess.run(command, check=True, capture_output=True, text=True, cwd="/").stdout

    def start(self):
        command = [*self.user, self.programs / "postgres", "-D", self.data, "-p", str(self.port), "-k", self.data]
        with self.log.open("a") as log:
            self.process = subprocess.Popen(
                [*command, "-c", "listen_addresses=127.0.0.1"], stdout=log, stderr=log, cwd="/", start_new_session=True
            )
        wait("PostgreSQL answers", lambda: self.answers())

    def answers(self):
        probe = [self.programs / "pg_isready", "--host=127.0.0.1", f"--port={self.port}", "--quiet"]
        return subprocess.run(probe, check=False).returncode == 0

    def url(self, database=None):
        return f"postgres://clickwire:{self.password}@127.0.0.1:{self.port}/{database or self.database}"

    def change_password(self):
        self.sql("ALTER ROLE clickwire PASSWORD 'second'")
        self.password = "second"

    def sql(self, statement, database=None):
        return self.run("psql", "--quiet", "--tuples-only", "--no-align", self.url(database), "--command", statement).strip()

    def lose(self):
        self.process.send_signal(signal.SIGQUIT)
        self.process.wait()

    def stop(self):
        if self.process.poll() is None:
            self.lose()


class Services:
    """One of each, with a spool of its own in `work`."""

    def __init__(self, work, programs, nats, postgres, sealing_keys):
        work.mkdir(exist_ok=True)
        self.work, self.programs, self.nats, self.postgres = work, programs, nats, postgres
        # the present one, and the one before if there was one; none of the second kind: no recipients' links
        self.sealing_keys, self.minting_keys, self.visitor_secret = sealing_keys, [], new_key()
        self.redirect, self.api, *ops = free_ports(7)
        self.ops, self.running = dict(zip(SERVICES, ops)), {}

    def environment(self, user):
        settings = {
            "NATS__URL": self.nats.url(user),
            "NATS__REPLICAS": "3",
            **{f"NATS__{stream}_MAX_BYTES": "134217728" for stream in ("CLICKS", "ENRICHED", "EVENTS", "QUARANTINE")},
            "DATABASE__URL": self.postgres.url(),
            **dict(zip(("SEALING__KEY", "SEALING__PREVIOUS_KEYS"), self.sealing_keys)),
            **dict(zip(("MINTING__KEY", "MINTING__PREVIOUS_KEYS"), self.minting_keys)),
            "ENRICH__VISITOR_SECRET": self.visitor_secret,
            "LINKS__PUBLIC_URL": f"http://127.0.0.1:{self.redirect}",
            "REDIRECT__ADDR": f"127.0.0.1:{self.redirect}",
            "REDIRECT__SPOOL__DIR": str(self.spool()),
            "DELIVER__ALLOWED_NETWORKS": "127.0.0.0/8",
            "API__ADDR": f"127.0.0.1:{self.api}",
            **{f"{service.upper()}__OPS_ADDR": f"127.0.0.1:{port}" for service, port in self.ops.items()},
        }
        ours = {name: value for name, value in os.environ.items() if not name.startswith("CLICKWIRE")}
        return {**ours, **{f"CLICKWIRE__{name}": value for name, value in settings.items()}}

    def command(self, *arguments, **more):
        command = [self.programs / "clickwire", *arguments]
        environment = {**self.environment("operator"), **more}
        done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
        if done.returncode:
            raise SystemExit(f"FAILED: clickwire {' '.join(arguments)}: {done.stderr}")
        return done.stdout.strip()

    def spool(self):
        return self.work / "spool"

    def start(self, service):
        with (self.work / f"{service}.log").open("a") as log:
            self.running[service] = subprocess.Popen(
                [self.programs / f"clickwire-{service}"], env=self.environment(service), stdout=log, stderr=log
            )
        wait(f"{service} is ready", lambda: fetch(f"http://127.0.0.1:{self.ops[service]}/readyz"))

    def readiness(self, service):
        """What it says of itself, ready or not."""
        try:
            return fetch(f"http://127.0.0.1:{self.ops[service]}/readyz").decode()
        except urllib.error.HTTPError as answer:
            return answer.read().decode()

    def metric(self, service, name):
        lines = fetch(f"http://127.0.0.1:{self.ops[service]}/metrics").decode().splitlines()
        return sum(float(line.split()[-1]) for line in lines if line.split("{")[0].split(" ")[0] == name)

    def end(self, service):
        process = self.running.pop(service)
        process.terminate()
        process.wait(30)

    def kill(self, service):
        process = self.running.pop(service)
        process.kill()
        process.wait()

    def again(self, service):
        self.end(service)
        self.start(service)

    def start_all(self):
        for service in SERVICES:
            self.start(service)

    def stop(self):
        for service in list(self.running):
            self.end(service)


class SmallDisk:
    """A disk of its own for a folder, in memory. Only root can have one, and not in every container: OSError."""

    def __init__(self, folder):
        self.folder, self.filler = folder, folder / "filler"
        folder.mkdir()
        command = ["mount", "-t", "tmpfs", "-o", "size=2m", "clickwire-small-disk", folder]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.returncode:
            raise OSError(done.stderr.strip())

    def fill(self):
        """Leaves no room."""
        with self.filler.open("wb", buffering=0) as filler:
            try:
                while True:
                    filler.write(bytes(4096))
            except OSError as error:
                if error.errno != errno.ENOSPC:
                    raise

    def make_room(self):
        self.filler.unlink()

    def stop(self):
        subprocess.run(["umount", "--lazy", self.folder], check=True)


class Api:
    """What a customer does with a key of theirs."""

    def __init__(self, services):
        self.services, self.key = services, services.command("keys", "create").split()[0]

    def post(self, path, body):
        return self.send("POST", path, body)

    def send(self, method, path, body):
        headers = {"Authorization": f"Bearer {self.key}", "Content-Type": "application/json"}
        url = f"http://127.0.0.1:{self.services.api}{path}"
        request = urllib.request.Request(url, json.dumps(body).encode(), headers, method=method)
        with OPENER.open(request, timeout=20) as answer:
            return json.loads(answer.read())

    def link(self):
        return self.post("/v1/links", {"url": "https://example.com/offer"})["slug"]

    def recipients_link(self):
        """What stands in the place of the slug in one recipient's link of a new template."""
        link = self.post("/v1/links", {"url": "https://example.com/offer"})["id"]
        template = self.send("PUT", f"/v1/links/{link}/template", {})["number"]
        key_file = self.services.work / "sender.key"
        key_file.write_text(self.post("/v1/minting-keys", {})["key"])
        made = self.services.command("mint", "--key-file", str(key_file), "--template", str(template), "--recipient", "17")
        return made.removeprefix("/")

    def endpoint(self, subscriber):
        made = self.post("/v1/webhook-endpoints", {"url": subscriber.url, "event_types": ["link.clicked"]})
        return made["id"], made["secret"]

    def another_secret(self, endpoint):
        return self.post(f"/v1/webhook-endpoints/{endpoint}/secrets", {})["secret"]

    def replay(self, endpoint):
        url = f"http://127.0.0.1:{self.services.api}"
        arguments = ("--endpoint", endpoint, "--since", "2days", "--status", "delivered", "--wait")
        self.services.command("replay", *arguments, CLICKWIRE_API_URL=url, CLICKWIRE_API_KEY=self.key)


class Subscriber:
    """Remembers which clicks it was told of, and how much it could not verify."""

    def __init__(self):
        self.secrets, self.ids, self.verified, self.unverified = [], set(), 0, 0
        subscriber = self

        class Handler(http.server.BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_POST(self):
                subscriber.take(self.headers, self.rfile.read(int(self.headers["Content-Length"])))
                self.send_response(204)
                self.end_headers()

            def log_message(self, *_):
                pass

        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.server.daemon_threads = True
        threading.Thread(target=self.server.serve_forever, daemon=True).start()
        self.url = f"http://127.0.0.1:{self.server.server_address[1]}/"

    def take(self, headers, body):
        signed = f"{headers['webhook-id']}.{headers['webhook-timestamp']}.".encode() + body
        keys = [base64.b64decode(secret.removeprefix("whsec_")) for secret in self.secrets]
        ours = {"v1," + base64.b64encode(hmac.digest(key, signed, hashlib.sha256)).decode() for key in keys}
        if ours & set(headers["webhook-signature"].split()):
            self.verified += 1
            # of a telling that came later: the click's own
            self.ids.add("_".join(headers["webhook-id"].split("_")[:2]))
        else:
            self.unverified += 1

    def stop(self):
        self.server.shutdown()


class Visitors:
    """Click all the while, at one redirect after the other; who gets no answer tries again."""

    def __init__(self, ports, slug):
        self.ports, self.slug = ports, slug
        self.redirected, self.is_over, self.turns = 0, False, itertools.count()
        self.thread = threading.Thread(target=self.click, daemon=True)
        self.thread.start()

    def click(self):
        while not self.is_over:
            ports = self.ports
            try:
                connection = http.client.HTTPConnection("127.0.0.1", ports[next(self.turns) % len(ports)], timeout=5)
                connection.request("GET", f"/{self.slug}", headers={"User-Agent": "Mozilla/5.0 (X11; Linux x86_64) Firefox/130.0"})
                if connection.getresponse().status == 302:
                    self.redirected += 1
            except (OSError, http.client.HTTPException):
                pass
            time.sleep(0.02)

    def some_more(self, count=40):
        enough = self.redirected + count
        wait("visitors are redirected", lambda: self.redirected >= enough)

    def end(self):
        self.is_over = True
        self.thread.join()


def carry_out(name, programs, procedures):
    """Runs `procedures(work, parts)` in a folder of its own and ends what it has put into `parts`."""
    for folder in programs:
        if not (folder / "clickwire-redirect").exists():
            sys.exit(f"{folder} has no programs: cargo build --workspace --bins")
    work = pathlib.Path(tempfile.mkdtemp(prefix=f"clickwire-{name}-"))
    os.chmod(work, 0o755)  # as root, PostgreSQL runs as another user and must get in
    parts = []
    # who is asked to end cleans up too
    signal.signal(signal.SIGTERM, lambda *_: sys.exit("ended by a signal"))
    try:
        procedures(work, parts)
    except SystemExit:
        for log in sorted(work.rglob("*.log")):
            print(f"--- {log.relative_to(work)}\n" + "\n".join(log.read_text().splitlines()[-15:]), file=sys.stderr)
        raise
    finally:
        for part in reversed(parts):
            part.stop()
        shutil.rmtree(work, ignore_errors=True)
