# Random, oversized and truncated datagrams to the SIP and media ports of both sides while calls are up: all
# of it is counted, and no call notices.

stranger_core=192.0.2.66
stranger_carrier=198.51.100.66
in_ns core ip address add "$stranger_core/24" dev sbc
in_ns carrier ip address add "$stranger_carrier/24" dev sbc

# Few ports, so that most of the garbage hits open ones.
write_config carrier_network=47.103.169.70/32 "carrier_ports=16384 16431" "core_ports=16384 16431" cores=0
make_speech 5
hold_calls held
start_moorline
# Without the garbage, most of which is in fragments.
start_captures not host "$stranger_core" and not host "$stranger_carrier"
start_called_party
start_callers 20 20 1000
await_calls_up 20
start garbage-core core "$MOORLINE_BENCH" garbage --from "$stranger_core:7777" --to "$sbc_core_ip:5060" \
    --to "$sbc_core_ip:16384-16431" --count 64 --seed 1
core_garbage=$started
start garbage-carrier carrier "$MOORLINE_BENCH" garbage --from "$stranger_carrier:7777" --to "$sbc_carrier_ip:5060" \
    --to 47.103.169.70:16384-16431 --count 64 --seed 2
wait "$core_garbage" "$started"
require "garbage sent" "$(figure garbage-core.log garbage_sent)" -gt 1000
let_calls_end
await_callers callers "$callers_pid" 20
stop_captures
stop_called_party 20
verify_captures --calls 20
await_idle
for counter in sip_malformed sip_unknown_source sip_bad_requests; do
    require "$counter" "$(figure after.scrape $counter)" -gt "$(figure before.scrape $counter)"
done
dropped=$(awk -F= '/^media_dropped_/ { sum += $2 } END { print sum + 0 }' after.scrape)
require "media packets refused" "$dropped" -gt 1000
verify_datapath
summary "$dropped datagrams refused on media ports, $(figure after.scrape sip_malformed) malformed and" \
    "$(figure after.scrape sip_unknown_source) from strangers on SIP ports"
stop_moorline
