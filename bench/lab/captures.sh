# Captures of what crosses Moorline, and their judgement.

# Captures on both sides, of everything or of what a filter says.
start_captures() {
    captures=()
    start_capture core core sbc "$@"
    start_capture carrier carrier sbc "$@"
}

# start_capture NAME NAMESPACE LINK FILTER...: one more, in NAME.pcap.
start_capture() {
    local name=$1 namespace=$2 link=$3
    shift 3
    # 64 MiB of buffer: a capture that drops packets proves nothing.
    start "tcpdump-$name" "$namespace" tcpdump -i "$link" -n -B 65536 --immediate-mode -Z root -w "$name.pcap" "$@"
    captures+=("$name:$started")
    await "the capture of $name" grep -q "listening on" "tcpdump-$name.log"
}

stop_captures() {
    local capture name dropped
    # What is on its way into the captures' buffers.
    sleep 0.3
    kill -TERM "${captures[@]#*:}"
    wait "${captures[@]#*:}"
    for capture in "${captures[@]}"; do
        name=${capture%:*}
        dropped=$(awk '/dropped by kernel/ { print $1 }' "tcpdump-$name.log")
        require "packets missed by the capture of $name" "$dropped" -eq 0
    done
}

# verify_captures OPTION...: judges the captures.
verify_captures() {
    judge_captures core carrier verify-captures --inside 192.0.2.0/24 --outside-range "$media_range" "$@"
    summary "$(captured_summary)"
}

# verify_media OPTION...: judges the media of the captures alone, for calls whose signaling they do not show.
verify_media() {
    verify_media_between core carrier "$media_range" "$@"
}

# verify_media_between ONE OTHER RELAYS OPTION...: the same for two other captures; on the side of the first one the
# relay has its core address, on that of the other one addresses in RELAYS.
verify_media_between() {
    judge_captures "$1" "$2" verify-media --core-relays "$sbc_core_ip/32" --carrier-relays "$3" "${@:4}"
    summary "RTP $(figure captures.figures rtp_outward_sent) outward, $(figure captures.figures rtp_inward_sent) inward," \
        "$(figure captures.figures rtp_outward_lost rtp_inward_lost) lost"
}

# judge_captures ONE OTHER COMMAND OPTION...: by that command of moorline-bench; the figures go to captures.figures.
judge_captures() {
    local line
    "$MOORLINE_BENCH" "$3" --core "$1.pcap" --carrier "$2.pcap" "${@:4}" >captures.figures || true
    while read -r line; do
        fault "captures: $line"
    done < <(sed -n 's/^fault: //p' captures.figures)
    grep -q '^unreadable=' captures.figures || fault "the captures could not be judged"
}

captured_summary() {
    echo "$(figure captures.figures calls_answered) of $(figure captures.figures calls) calls answered," \
        "$(figure captures.figures sip_retransmissions) retransmissions;" \
        "RTP $(figure captures.figures rtp_outward_sent rtp_inward_sent) in," \
        "$(figure captures.figures rtp_outward_relayed rtp_inward_relayed) out," \
        "$(figure captures.figures rtp_outward_lost rtp_inward_lost) lost," \
        "transit p99 $(figure captures.figures rtp_outward_transit_p99_us) µs"
}

# The datapath that the test names carried what the captures show, and nothing was dropped.
verify_datapath() {
    local kind relayed
    for kind in rtp rtcp; do
        relayed=$(figure captures.figures "${kind}_outward_relayed" "${kind}_inward_relayed")
        require "$kind packets carried by $datapath" "$(figure after.scrape "media_${kind}_$datapath")" -eq "$relayed"
    done
    require "residence times recorded" "$(figure after.scrape media_residence_count)" -gt 0
    summary "residence p99 below $(sed -n 's/^media_residence_p99_us=//p' after.scrape) µs on $datapath"
}

verify_no_drops() {
    local line
    while IFS== read -r reason count; do
        require "$reason" "$count" -eq 0
    done < <(grep '^media_dropped_' after.scrape)
}

# packets SIDE FILTER: how many the capture of that side shows.
packets() {
    tcpdump -n -r "$1.pcap" "$2" 2>/dev/null | wc -l
}

# requests SIDE METHOD: how many requests of that method the capture shows from Moorline, over UDP.
requests() {
    tcpdump -n -r "$1.pcap" "udp and src port 5060 and (src host $sbc_core_ip or src host $sbc_carrier_ip)" \
        2>/dev/null | grep -c "SIP: $2 " || true
}
