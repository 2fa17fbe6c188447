# Two queues of each link, two shards, and shards that stay awake: packets of calls come by both queues, both shards relay,
# and no packet is lost or marked wrongly, RTCP neither.

if (($(nproc) < 2)); then
    summary "not tried: there is one core only"
    echo "the lab's test of several queues and shards: needs two cores" >>"${MOORLINE_SKIPPED:-/dev/null}"
    return
fi
for side in core carrier; do
    in_ns "$side" ethtool -L sbc rx 2 tx 2
    in_ns sbc ethtool -L "$side" rx 2 tx 2
done
calls=60
# Shards are given sessions in rows of a part of what they have room for: of 100, in rows of few.
write_config cores="0, 1" capacity=100 busy_poll_us=50
start_moorline
start_captures
"$MOORLINE_BENCH" load --caller-netns core --callee-netns carrier --sbc "$sbc_core_ip:5060" --caller "$core_ip:5060" \
    --callee "$carrier_ip:5060" --relay-network "$media_range" --relay-network "$sbc_core_ip/32" \
    --calls "$calls" --rate 20 --talk-s 3 >load.figures || true
stop_captures
verify_captures --calls "$calls" --call-header X-Load-Call
judge_load load.figures "$calls"
await_idle
for side in core carrier; do
    for queue in 0 1; do
        require "packets by queue $queue of $side" \
            "$(in_ns sbc ethtool -S "$side" | awk "\$1 == \"rx_queue_${queue}_xdp_packets:\" { print \$2 }")" -gt 500
    done
done
for shard in 0 1; do
    require "packets relayed by shard $shard" "$(figure after.scrape "media_rtp_shard_$shard")" -gt 500
done
verify_datapath
verify_no_drops
if grep "does not poll" moorline.log; then
    fault "busy polling is refused"
fi
stop_moorline
