# In mid-call the carrier's link gets another MAC address, as when a standby takes over, and then Moorline's link to the
# carrier goes down for half a second. Media finds its way again, past the kernel as before, and the calls end as if
# nothing had happened.

# Who changes address says so.
in_ns carrier sysctl -qw net.ipv4.conf.sbc.arp_notify=1
former=$(ip -n carrier -o link show dev sbc | sed 's/.*link\/ether \([0-9a-f:]*\).*/\1/')
present=02:00:5e:10:00:66
case $datapath+$offload in
    io_uring+false) by=media_direct ;;
    af_xdp+false) by=media_af_xdp_sent ;;
    *) by=media_rtp_xdp ;;
esac

# Half a second of packets, and as much again, is what all of them may lose.
make_speech 5
start_moorline
start_captures
hold_calls held
start_called_party 1000
start_callers 10 20 1000
start_hung_up_callers 10 20
await_calls_up 20
await "media past the kernel" counts 2500 $by
look before-changes
in_ns carrier ip link set dev sbc address "$present"
await "another next hop" counts $(($(figure before-changes.scrape media_next_hop_changes) + 1)) media_next_hop_changes
moved_at=$EPOCHREALTIME
look moved
await "media past the kernel again" counts $(($(figure moved.scrape $by) + 2500)) $by
down_at=$EPOCHREALTIME
in_ns sbc ip link set dev carrier down
# That long is the outage.
sleep 0.5
in_ns sbc ip link set dev carrier up
away_ms=$(((${EPOCHREALTIME/./} - ${down_at/./}) / 1000))
look up
await "media past the kernel after the outage" counts $(($(figure up.scrape $by) + 1000)) $by
let_calls_end
await_callers callers "$callers_pid" 10
await_callers hung-up "$hung_up_pid" 10
stop_captures
stop_called_party 20
verify_captures --calls 20 --lost $((1000 + 2 * away_ms)) --interruption-ms $((2500 + away_ms))

# frames_to MAC [TIME]: how many frames of media the carrier's capture shows to that address, behind the first one from
# the present address, or after that time.
frames_to() {
    tcpdump -tt -e -n -r carrier.pcap 2>/dev/null | awk -v to="$1," -v present="$present" -v from="${2:-0}" \
        '$2 == present { moved = 1 } moved && $1 >= from && $4 == to && / UDP, / { n++ } END { print n + 0 }'
}

require "packets to the former address of the carrier when the next hop had changed" "$(frames_to "$former" "$moved_at")" -eq 0
require "packets to its present address" "$(frames_to "$present")" -gt 1000
await_idle
summary "$(frames_to "$former") packets went to the address that the carrier no longer had, $away_ms ms without a link"
stop_moorline
