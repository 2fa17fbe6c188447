# The carrier's side speaks IPv6, the core's IPv4: 100 calls, 20 a second, 3 s of speech each, echoed. Nothing is lost,
# changed or crossed, and no address of one side is shown to the other.

# shown SIDE TEXT: how many lines of a side's capture hold it.
shown() {
    grep -ac "$2" "$1.pcap" || true
}

calls=100
ipv6_up
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
require "IPv4 packets on the carrier's side" "$(packets carrier "ip and udp")" -eq 0
require "packets over IPv6 on the core's side" "$(packets core "ip6 and udp")" -eq 0
require "descriptions of IPv4 shown to the carrier" "$(shown carrier "IN IP4")" -eq 0
require "descriptions of IPv6 shown to the core" "$(shown core "IN IP6")" -eq 0
require "addresses of the core shown to the carrier" "$(shown carrier "192\.0\.2\.")" -eq 0
require "addresses of the carrier shown to the core" "$(shown core "2001:db8:c:")" -eq 0
await_idle --transactions
verify_datapath
verify_no_drops
stop_moorline
