#!/bin/sh
# Writes the secrets of a docker-compose deployment, each once: what is there is kept, and what an earlier version did not
# have is added. Runs in the one-shot service `init`, before everything else. The volumes are only mounted where they
# are needed.
set -eu
umask 022

settings=/etc/clickwire
sealing=/etc/clickwire/sealing
minting=/etc/clickwire/minting
# who has a user on NATS: the services, and `operator` for `setup` and the commands for people
users='operator redirect enrich deliver record api'

secret() { head -c 32 /dev/urandom | base64 | tr '+/' '-_' | tr -d '=\n'; }

# write FILE: standard input becomes the file in one step, so that a half-written one is never seen
write() {
    cat >"$1.new"
    mv "$1.new" "$1"
}

# once FILE: a secret of its own, for ever
once() { [ -e "$1" ] || secret | write "$1"; }

mkdir -p "$settings/secrets"
once "$settings/postgres-password"
if [ -e "$settings/clickwire.toml" ] && [ ! -e "$settings/secrets/visitor" ]; then
    # an earlier version kept it there only
    sed -n 's/^visitor_secret = "\(.*\)"$/\1/p' "$settings/clickwire.toml" | tr -d '\n' | write "$settings/secrets/visitor"
fi
once "$settings/secrets/visitor"
for user in $users; do once "$settings/secrets/nats-$user"; done

for user in $users; do
    printf 'PASSWORD_%s: "%s"\n' "$(echo "$user" | tr '[:lower:]' '[:upper:]')" "$(cat "$settings/secrets/nats-$user")"
done | write "$settings/nats-passwords.conf"

# one file a user; the operator's is where programs look that name none
for user in $users; do
    file=$settings/$user.toml
    [ "$user" != operator ] || file=$settings/clickwire.toml
    write "$file" <<TOML
# Written at each start by the service init of docker-compose.yml, from the files beside it. What is to be set otherwise
# goes into an environment variable CLICKWIRE__SECTION__KEY, which wins over it.
[nats]
url = "nats://$user:$(cat "$settings/secrets/nats-$user")@nats:4222"

[database]
url = "postgres://clickwire:$(cat "$settings/postgres-password")@postgres:5432/clickwire"

[enrich]
visitor_secret = "$(cat "$settings/secrets/visitor")"

[sealing]
key_file = "$sealing/sealing.key"

[minting]
key_file = "$minting/minting.key"
TOML
done

# What signing secrets are sealed with in the database, and what keys of recipients' links are: without it they cannot be
# opened again.
umask 077
for file in "$sealing/sealing.key" "$minting/minting.key"; do
    if [ ! -e "$file" ]; then head -c 32 /dev/urandom | base64 | write "$file"; fi
done
