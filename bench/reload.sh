#!/bin/bash
# Reloads of a million routes under 200 calls/s: `bench/reload.sh [SECONDS [CALLS_PER_SECOND]]`, with release binaries.
#
# Calls are placed for so many seconds twice: with nothing else, and with a reload every four seconds, each of which
# reads another file of 1,000,000 prefixes and says something else of the trunk that the calls go to. Prints what the
# callers saw of either, and how long each reload took.
set -euo pipefail
seconds=${1:-30}
rate=${2:-200}
moorline=${CARGO_TARGET_DIR:-target}/release/moorline
folder=$(mktemp -d)
process=
end() {
    [ -z "$process" ] || { kill "$process" 2>/dev/null && wait "$process" || true; }
    rm -rf "$folder"
}
trap end EXIT

# The numbers that are called have prefixes of ten digits; one row is different.
for file in one two; do
    refused=$([ $file = one ] && echo 1391000000 || echo 1391000001)
    awk -v refused="$refused" 'BEGIN {
        print "prefix,to,refuse"
        for (row = 0; row < 999999; row++) printf "%d,carrier,\n", 1390000000 + row
        printf "%s,,403 Barred\n", refused
    }' >"$folder/$file.csv"
done
say() { # FILE CODECS
    cat >"$folder/reload.toml" <<EOF
[signaling]
control = "$folder/media.sock"
state = "$folder/state"
admin = "127.99.7.1:9060"
workers = 2
routes_file = "$folder/$1.csv"
[[signaling.listeners]]
name = "loopback"
bind = "127.99.7.1:5060"
[[signaling.trunks]]
name = "customer"
listener = "loopback"
sources = ["127.99.7.2/32"]
[[signaling.trunks]]
name = "carrier"
listener = "loopback"
targets = ["127.99.7.3:5060"]
codecs = $2
[media]
admin = "127.99.7.1:9061"
[[media.ranges]]
name = "edge"
network = "127.99.7.64/27"
first_port = 20000
last_port = 29999
EOF
}
say one '["pcma", "pcmu"]'
"$moorline" --log-level warn up --config "$folder/reload.toml" 2>"$folder/log" &
process=$!
connected() {
    local page
    page=$(curl -fs http://127.99.7.1:9060/metrics) && grep -q '^moorline_sip_media_connected 1' <<<"$page"
}
for _ in {1..300}; do
    connected && break
    sleep 0.1
done
connected || { cat "$folder/log"; exit 1; }

place_calls() { # NAME
    "$moorline" load --target 127.99.7.1:5060 --caller 127.99.7.2 --callee 127.99.7.3:5060 --rate "$rate" \
        --duration "$seconds" --talk 2 --ring 0.1 --no-media --number '1390######00' --json "$folder/$1.json" \
        >"$folder/$1.txt" 2>&1 || echo "not clean:"
    echo "--- $1"
    sed -n '/^calls/,/^release/p' "$folder/$1.txt"
}

place_calls "without reloads"
place_calls "with reloads" &
calls=$!
count=0
until=$((SECONDS + seconds - 4))
while [ "$SECONDS" -lt "$until" ]; do
    sleep 2
    count=$((count + 1))
    if [ $((count % 2)) = 1 ]; then say two '["pcmu", "pcma"]'; else say one '["pcma", "pcmu"]'; fi
    from=$(date +%s%N)
    told=$("$moorline" reload --config "$folder/reload.toml" 2>&1) || { echo "$told"; exit 1; }
    echo "reload $count: $((($(date +%s%N) - from) / 1000000)) ms: ${told##*$'\n'}"
    sleep 2
done
wait "$calls"
grep -v 'runs as root' "$folder/log" || true
