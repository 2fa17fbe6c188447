# 40 calls over TCP on both sides, then 20 that come over UDP and leave over TCP, and 20 the other way round.

sipp_over() {
    local number=$1 core=$2 carrier=$3 calls=$4
    start_captures
    CARRIER_TRANSPORT=$carrier start_called_party
    CORE_TRANSPORT=$core start_callers "$calls" 20 2400 "$number"
    await_callers callers "$callers_pid" "$calls"
    stop_called_party "$calls"
    stop_captures
    verify_captures --calls "$calls"
    require "RTP packets sent by callers" "$(figure captures.figures rtp_outward_sent)" -eq $((calls * 100))
    carried=$((${carried:-0} + $(figure captures.figures rtp_outward_relayed rtp_inward_relayed)))
}

write_config
add_trunk tcp 7 "sip:$carrier_ip:5060;transport=tcp"
make_speech 2
start_moorline
sipp_over 7000 tcp tcp 40
sipp_over 7000 udp tcp 20
sipp_over 8610086 tcp udp 20
await_idle --transactions
require "RTP packets carried by $datapath" "$(figure after.scrape "media_rtp_$datapath")" -eq "$carried"
verify_no_drops
stop_moorline
