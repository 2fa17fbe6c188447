# Both sides speak IPv6: 60 calls, 20 a second, 3 s of speech each, echoed; no packet is lost or changed.

calls=60
ipv6_up
core_ip=$core_ip6 sbc_core_ip=$sbc_core_ip6 core_network=$core_network6
media_range=$media_range6 carrier_ip=$carrier_ip6 sbc_carrier_ip=$sbc_carrier_ip6
make_speech 3
start_moorline
start_captures
start_called_party
start_callers "$calls" 20 3400
await_callers callers "$callers_pid" "$calls"
stop_captures
stop_called_party "$calls"
verify_captures --calls "$calls"
# Each caller's file is 150 packets.
require "RTP packets sent by callers" "$(figure captures.figures rtp_outward_sent)" -eq $((calls * 150))
require "RTP packets sent back" "$(figure captures.figures rtp_inward_sent)" -ge $((calls * 150 - $(may_be_lost)))
for side in core carrier; do
    require "IPv4 packets on the $side's side" "$(packets "$side" "ip and udp")" -eq 0
done
await_idle
verify_datapath
verify_no_drops
stop_moorline
