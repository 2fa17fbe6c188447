# `moorline load`, the load tester as people use it, each side in its namespace.

load() {
    "$MOORLINE" load --target "$sbc_core_ip:5060" --caller "$core_ip" --callee "$carrier_ip:5060" \
        --caller-netns core --callee-netns carrier "$@"
}

start_moorline
# That nothing is lost is for generator-calls to see; here a busy machine may.
load --calls 100 --rate 20 --talk 3 --rtcp --verbatim --max-loss 2 --relay-network "$media_range" --relay-network "$sbc_core_ip/32" \
    --json load.json --html load.html >load.log || fault "the load is not clean: $(tr '\n' ' ' <load.log)"
for part in '"schema": "moorline-load/1"' '"passed": true' '"completed": 100' '"crossed": 0'; do
    grep -q "$part" load.json || fault "no $part in load.json"
done
grep -q 'One way over time' load.html || fault "the page has no plot of one-way delay"
load --ramp 20..40/20 --duration 2 --talk 1 --no-media >ramp.log || fault "the ramp is not clean: $(tr '\n' ' ' <ramp.log)"
grep -q 'the highest clean rate was 40 calls per second' ramp.log || fault "the ramp ends early: $(tr '\n' ' ' <ramp.log)"
await_idle
require "RTP packets carried by $datapath" "$(figure after.scrape "media_rtp_$datapath")" \
    -ge "$(sed -n 's/^ *"packets_received": \([0-9]*\),$/\1/p' load.json | head -1)"
verify_no_drops
stop_moorline
