# One telephone calls another and sends it on to a third: by a REFER that crosses, after which the second one calls with
# its own password, and then by one that Moorline carries out itself.

write_config
add_telephones
make_voice 10
start_moorline

# transferred WAY: 6002 calls 6001, which is to talk to 6000 then.
transferred() {
    register_pjsua "6000-$1" 6000 udp 5080 --hang-up 3
    local third=$started
    register_pjsua "6001-$1" 6001 udp 5082
    local second=$started
    register_pjsua "6002-$1" 6002 udp 5084 --call "sip:6001@$registrar" --transfer "<sip:6000@$registrar>" --seconds 2
    wait "$started" || fault "pjsua (6002-$1) ended with status $?"
    await_pjsua "6001-$1" "$second"
    await_pjsua "6000-$1" "$third"
    require "what the transferor was told ($1)" "$(figure "pjsua-6002-$1.log" transfer_status)" -eq 200
}

transferred crossing
await_idle
require "calls" "$(figure after.scrape sip_calls)" -eq 2
stop_moorline

sed -i 's/^name = "telephones"/&\nrefer = "handle"/' moorline.toml
start_moorline
transferred carried-out
await_idle
require "REFERs that crossed" "$(grep -c "^REFER" pjsua-6001-crossing.log || true)" -eq 1
require "REFERs that were carried out" "$(grep -c "^REFER" pjsua-6001-carried-out.log || true)" -eq 0
stop_moorline
