# `moorline load`, the load tester as people use it, each side in its namespace, over UDP and over TCP.

load() {
    "$MOORLINE" load --target "$sbc_core_ip:5060" --caller "$core_ip" --callee "$carrier_ip:5060" \
        --caller-netns core --callee-netns carrier "$@"
}

write_config
add_trunk tcp 7 "sip:$carrier_ip:5060;transport=tcp"
start_moorline
load --calls 100 --rate 20 --talk 3 --rtcp --verbatim --relay-network "$media_range" --relay-network "$sbc_core_ip/32" \
    --json load.json --html load.html >load.log || fault "the load is not clean: $(tr '\n' ' ' <load.log)"
for part in '"schema": "moorline-load/1"' '"passed": true' '"completed": 100' '"lost": 0' '"crossed": 0'; do
    grep -q "$part" load.json || fault "no $part in load.json"
done
grep -q 'One way over time' load.html || fault "the page has no plot of one-way delay"
load --transport tcp --called-prefix 7 --calls 40 --rate 20 --talk 1 >tcp.log ||
    fault "the load over TCP is not clean: $(tr '\n' ' ' <tcp.log)"
load --ramp 20..40/20 --duration 2 --talk 1 --no-media >ramp.log || fault "the ramp is not clean: $(tr '\n' ' ' <ramp.log)"
grep -q 'the highest clean rate was 40 calls per second' ramp.log || fault "the ramp ends early: $(tr '\n' ' ' <ramp.log)"
await_idle 40 --transactions
require "RTP packets carried by $datapath" "$(figure after.scrape "media_rtp_$datapath")" \
    -eq "$(($(sed -n 's/^ *"packets_sent": \([0-9]*\),$/\1/p' load.json | head -1) + $(sed -n 's/^audio *\([0-9]*\) packets sent.*/\1/p' tcp.log)))"
verify_no_drops
stop_moorline
