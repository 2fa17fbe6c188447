# In mid-call the carrier's link gets another MAC address, as when a standby takes over, and then Moorline's link to the
# carrier goes down for half a second. Media finds its way again, past the kernel as before, and the calls end as if
# nothing had happened.

# Who changes address says so.
in_ns carrier sysctl -qw net.ipv4.conf.sbc.arp_notify=1
former=$(in_ns carrier cat /sys/class/net/sbc/address)
present=02:00:5e:10:00:66
[[ $offload == true ]] && by=media_rtp_xdp || by=media_af_xdp_sent

# The first calls end 10.9 s after they began: half a second of packets, and as much again, is what all of them may lose.
make_speech 10
start_moorline
start_captures
start_called_party 10900
start_callers 10 20 10500
start_hung_up_callers 10 20
await_calls_up 20
await_media 4000
look before-changes
in_ns carrier ip link set dev sbc address "$present"
await "media past the kernel again" counts $(($(figure before-changes.scrape $by) + 3000)) $by
look moved
in_ns sbc ip link set dev carrier down
# That long is the outage.
sleep 0.5
in_ns sbc ip link set dev carrier up
sleep 1
look up
await_callers callers "$callers_pid" 10
await_callers hung-up "$hung_up_pid" 10
stop_captures
stop_called_party 20
verify_captures --calls 20 --lost 2000 --interruption-ms 3000

# frames_to MAC: how many frames of media the carrier's capture shows to that address, behind the first one from the
# present address.
frames_to() {
    tcpdump -e -n -r carrier.pcap 2>/dev/null | awk -v to="$1," -v present="$present" \
        '$2 == present { moved = 1 } moved && $4 == to && / UDP, / { n++ } END { print n + 0 }'
}

require "packets to the former address of the carrier" "$(frames_to "$former")" -le 500
require "packets to its present address" "$(frames_to "$present")" -gt 3000
require "next hops that changed" "$(figure moved.scrape media_next_hop_changes)" \
    -gt "$(figure before-changes.scrape media_next_hop_changes)"
await_idle 10
# Of 2,000 a second; a busy machine takes its time to look.
require "packets past the kernel before the changes" "$(figure before-changes.scrape $by)" -gt 2000
require "packets past the kernel after the first" \
    "$(($(figure moved.scrape $by) - $(figure before-changes.scrape $by)))" -gt 2000
require "packets past the kernel after the second" "$(($(figure after.scrape $by) - $(figure up.scrape $by)))" -gt 1000
summary "$(frames_to "$former") packets went to the address that the carrier no longer had"
stop_moorline
