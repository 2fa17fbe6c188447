# The own generator, which reads what comes back and knows to which call it belongs; the captures must agree.

calls=200
start_moorline
start_captures
"$MOORLINE_BENCH" load --caller-netns core --callee-netns carrier --sbc "$sbc_core_ip:5060" --caller "$core_ip:5060" \
    --callee "$carrier_ip:5060" --relay-network "$media_range" --relay-network "$sbc_core_ip/32" \
    --calls "$calls" --rate 20 --talk-s 5 >load.figures || true
stop_captures
require "RTCP packets received" "$(figure load.figures rtcp_received)" -gt 0
verify_captures --calls "$calls" --call-header X-Load-Call
judge_load load.figures "$calls"
require "RTP packets seen on both sides" "$(figure captures.figures rtp_outward_sent rtp_inward_sent)" \
    -eq "$(figure load.figures rtp_sent)"
await_idle
verify_datapath
verify_no_drops
stop_moorline
