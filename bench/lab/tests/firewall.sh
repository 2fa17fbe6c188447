# The host gets a firewall in mid-call, and is rid of it again. While it is there it sees all that is sent, which the kernel
# then routes; before and after, Moorline sends to the next hop itself. No packet is lost or comes too early.

make_speech 5
start_moorline
start_captures
hold_calls held
start_called_party 1000
start_callers 10 20 1000
start_hung_up_callers 10 20
await_calls_up 20
await "media past the kernel's routing" counts 2000 media_direct
in_ns sbc nft -f - <<END
table inet wall {
    counter media { }
    chain out {
        type filter hook output priority 0; policy accept;
        ip saddr $media_range udp dport != 5060 counter name media
    }
}
END

# walled LEAST: whether the firewall has counted so many packets of media.
walled() {
    (($(in_ns sbc nft list counter inet wall media | sed -n 's/.*packets \([0-9]*\) .*/\1/p') >= $1))
}
await "media through the firewall" walled 100
look walled
# Media of both directions passes it now, of which it counts what goes to the carrier.
await "more media through the firewall" walled 1500
look still-walled
in_ns sbc nft delete table inet wall
await "media past the kernel's routing again" counts $(($(figure still-walled.scrape media_direct) + 1000)) media_direct
let_calls_end
await_callers callers "$callers_pid" 10
await_callers hung-up "$hung_up_pid" 10
stop_captures
stop_called_party 20
verify_captures --calls 20
await_idle
require "packets past the kernel's routing while there was a firewall" \
    "$(($(figure still-walled.scrape media_direct) - $(figure walled.scrape media_direct)))" -eq 0
verify_datapath
summary "$(figure after.scrape media_direct) packets went past the kernel's routing, the others through the firewall"
stop_moorline
