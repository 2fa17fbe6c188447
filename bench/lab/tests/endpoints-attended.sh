# One telephone calls a second, puts it on hold, asks a third, and joins the two: by a REFER with Replaces that crosses,
# and then by one that Moorline carries out itself. Two workers, so that the two calls may be of different ones.

write_config
add_telephones
sed -i 's/^\[signaling\]$/&\nworkers = 2/' moorline.toml
make_voice 10
start_moorline

# joined WAY: 6002 calls 6001 and 6000, who are to talk then.
joined() {
    register_pjsua "6000-$1" 6000 udp 5080 --hang-up 6
    local third=$started
    register_pjsua "6001-$1" 6001 udp 5082 --seconds 4
    local second=$started
    register_pjsua "6002-$1" 6002 udp 5084 --call "sip:6001@$registrar" --attended "sip:6000@$registrar" --seconds 2
    wait "$started" || fault "pjsua (6002-$1) ended with status $?"
    await_pjsua "6001-$1" "$second"
    await_pjsua "6000-$1" "$third"
    require "what the transferor was told ($1)" "$(figure "pjsua-6002-$1.log" transfer_status)" -eq 200
}

joined crossing
await_idle
stop_moorline

sed -i 's/^name = "telephones"/&\nrefer = "handle"/' moorline.toml
start_moorline
joined carried-out
await_idle
require "REFERs that were carried out" "$(grep -c "^REFER" pjsua-6001-carried-out.log || true)" -eq 0
stop_moorline
