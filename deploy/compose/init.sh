#!/bin/sh
# Writes the secrets of a docker-compose deployment, each once: what is there is kept. Runs in the
# one-shot service `init`, before everything else. The volumes are only mounted where they are needed.
set -eu
umask 022

settings=/etc/clickwire
sealing=/etc/clickwire/sealing

secret() { head -c 32 /dev/urandom | base64 | tr '+/' '-_' | tr -d '=\n'; }

# write FILE: standard input becomes the file in one step, so that a half-written one is never seen
write() {
    cat >"$1.new"
    mv "$1.new" "$1"
}

if [ ! -e "$settings/clickwire.toml" ]; then
    postgres=$(secret)
    nats=$(secret)
    printf '%s' "$postgres" | write "$settings/postgres-password"
    printf 'user: clickwire\npassword: "%s"\n' "$nats" | write "$settings/nats-authorization.conf"
    write "$settings/clickwire.toml" <<TOML
# Written once by the service init of docker-compose.yml. Every setting can stand here;
# an environment variable CLICKWIRE__SECTION__KEY wins over it.
[nats]
url = "nats://clickwire:$nats@nats:4222"

[database]
url = "postgres://clickwire:$postgres@postgres:5432/clickwire"

[enrich]
visitor_secret = "$(secret)"

[sealing]
key_file = "$sealing/sealing.key"
TOML
fi

# What signing secrets are sealed with in the database: without it they cannot be opened again.
if [ ! -e "$sealing/sealing.key" ]; then
    umask 077
    head -c 32 /dev/urandom | base64 | write "$sealing/sealing.key"
fi
