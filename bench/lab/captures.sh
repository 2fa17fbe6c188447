# Captures of what crosses Moorline, and their judgement.

# Captures on both sides, of everything or of what a filter says.
start_captures() {
    captures=()
    dropped_before=$(host_drops)
    start_capture core core sbc "$@"
    start_capture carrier carrier sbc "$@"
}

# start_capture NAME NAMESPACE LINK FILTER...: one more, in NAME.pcap.
start_capture() {
    local name=$1 namespace=$2 link=$3
    shift 3
    # A capture that drops packets proves nothing: 64 MiB of buffer, in which each packet takes as much as is asked for at
    # most, and no waiting for a core. Several SIP messages can be in one segment of TCP.
    start "tcpdump-$name" "$namespace" nice -n -15 tcpdump -i "$link" -n -s 8192 -B 65536 --immediate-mode -Z root \
        -w "$name.pcap" "$@"
    captures+=("$name:$started")
    await "the capture of $name" grep -q "listening on" "tcpdump-$name.log"
}

stop_captures() {
    local capture name dropped
    await "the end of what is captured" nothing_more_comes
    kill -TERM "${captures[@]#*:}"
    wait "${captures[@]#*:}"
    for capture in "${captures[@]}"; do
        name=${capture%:*}
        dropped=$(awk '/^[0-9]+ packets? dropped by kernel/ { print $1 }' "tcpdump-$name.log")
        require "packets missed by the capture of $name" "$dropped" -eq 0
    done
}

# Whether the captures have taken all that came out of the kernel's buffers, and nothing more has come for a while.
nothing_more_comes() {
    local before=${captured:-}
    sleep 0.3
    captured=$(captured_so_far)
    [[ $captured == "$before" ]] && awk '$1 != $2 { exit 1 }' <<<"$captured"
}

# Packets that the host has dropped on the way between two links, for its queues were full: of all namespaces.
host_drops() {
    local sum=0 dropped
    while read -r _ dropped _; do
        sum=$((sum + 16#$dropped))
    done </proc/net/softnet_stat
    echo "$sum"
}

# How many of those there were since the captures were started: a busy machine's loss, not Moorline's.
dropped_by_host() {
    echo "$(($(host_drops) - dropped_before))"
}

# What each capture has written and what the kernel has for it, in packets.
captured_so_far() {
    local capture log lines
    for capture in "${captures[@]}"; do
        log=tcpdump-${capture%:*}.log
        lines=$(grep -c "received by filter" "$log" || true)
        kill -USR1 "${capture#*:}"
        await "the figures of ${capture%:*}'s capture" has_lines "$log" "$((lines + 1))" "received by filter"
        sed -n 's/^\([0-9]*\) packets\{0,1\} captured, \([0-9]*\) packets\{0,1\} received by filter,.*/\1 \2/p' "$log" | tail -n 1
    done
}

# has_lines FILE COUNT TEXT
has_lines() {
    (($(grep -c "$3" "$1" || true) >= $2))
}

# verify_captures OPTION...: judges the captures. What was lost is judged here, where the machine is known.
verify_captures() {
    local lost allowed=0 again
    local -a options=()
    again=$(may_be_sent_again "$@")
    while (($#)); do
        case $1 in
            --lost) allowed=$2 && shift ;;
            *) options+=("$1") ;;
        esac
        shift
    done
    judge_captures core carrier verify-captures --inside "$core_network" --outside-range "$media_range" \
        --lost 1000000000 --retransmissions "$again" "${options[@]}"
    lost=$(figure captures.figures rtp_outward_lost rtp_inward_lost rtcp_outward_lost rtcp_inward_lost)
    require "packets lost" "$lost" -le "$((allowed + $(may_be_lost)))"
    ((lost <= allowed)) || summary "$lost packets lost where $allowed may be: $(stood_still | paste -sd ,)"
    summary "$(captured_summary)"
}

# What a busy machine may lose, in a million; see attack.sh.
busy_margin_ppm=20000

# How many packets may be lost for that, as the last captures say: none, unless something shows that the machine let
# Moorline wait.
may_be_lost() {
    if [[ -f captures.figures && -n $(stood_still) ]]; then
        echo "$(($(figure captures.figures rtp_outward_sent rtp_inward_sent) * busy_margin_ppm / 1000000))"
    else
        echo 0
    fi
}

# What shows that: nothing was relayed of a flow for longer than a machine with a free core takes, or queues of the kernel's
# were full.
stood_still() {
    local way ms
    for way in outward inward; do
        ms=$(figure captures.figures "rtp_${way}_interruption_ms")
        ((ms < 200)) || echo "nothing relayed $way for $ms ms"
    done
    ms=$(dropped_by_host)
    ((ms == 0)) || echo "$ms packets dropped in the host's queues"
    look now
    ms=$(figure now.scrape media_dropped_receive_buffer_full)
    ((ms == 0)) || echo "$ms packets dropped in full buffers"
}

# judge_load FIGURES CALLS: what the own generator has seen of its calls; behind verify_captures.
judge_load() {
    local key
    for key in rtp_duplicated rtp_reordered rtp_corrupted rtp_crossed rtp_wrong_source send_errors rtcp_wrong; do
        require "$key" "$(figure "$1" $key)" -eq 0
    done
    require "calls completed" "$(figure "$1" calls_completed)" -eq "$2"
    require "SIP messages sent again" "$(figure "$1" sip_retransmissions)" -le "$(may_be_sent_again --calls "$2")"
    require "RTP packets sent" "$(figure "$1" rtp_sent)" -gt 0
    require "RTP packets lost" "$(figure "$1" rtp_lost)" -le "$(may_be_lost)"
    require "RTCP packets received" "$(figure "$1" rtcp_received)" -ge "$(($(figure "$1" rtcp_sent) - $(may_be_lost)))"
}

# may_be_sent_again OPTION...: how many SIP messages who waits for a core may make others send again; a fault of Moorline's
# would show in every call of the --calls. Its own timer is 500 ms (RFC 3261, T1).
may_be_sent_again() {
    local calls=0
    while (($#)); do
        [[ $1 != --calls ]] || calls=$2
        shift
    done
    echo "$((calls / 4 + 1))"
}

# verify_media OPTION...: judges the media of the captures alone, for calls whose signaling they do not show.
verify_media() {
    verify_media_between core carrier "$media_range" "$@"
}

# verify_media_between ONE OTHER RELAYS OPTION...: the same for two other captures; on the side of the first one the
# relay has its core address, on that of the other one addresses in RELAYS.
verify_media_between() {
    judge_captures "$1" "$2" verify-media --core-relays "$(host "$sbc_core_ip")" --carrier-relays "$3" "${@:4}"
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

# The datapath that the test names carried what the captures show, with `+offload` the driver most of RTP.
verify_datapath() {
    local kind relayed driver
    for kind in rtp rtcp; do
        relayed=$(figure captures.figures "${kind}_outward_relayed" "${kind}_inward_relayed")
        driver=$(figure after.scrape "media_${kind}_xdp")
        require "$kind packets carried by $datapath" "$(figure after.scrape "media_${kind}_$datapath")" -eq $((relayed - driver))
    done
    relayed=$(figure captures.figures rtp_outward_relayed rtp_inward_relayed) driver=$(figure after.scrape media_rtp_xdp)
    [[ $offload == false ]] || verify_driver "$relayed" "$driver"
    [[ $datapath != af_xdp ]] || verify_bypass "$((relayed - driver))"
    verify_code_points
    require "residence times recorded" "$(figure after.scrape media_residence_count)" -gt 0
    summary "residence p99 below $(sed -n 's/^media_residence_p99_us=//p' after.scrape) µs on $datapath"
}

# verify_driver RELAYED DRIVER: of what was relayed, the driver did most, and each packet of it went in by one interface
# and out by the other.
verify_driver() {
    local redirected
    redirected=$(($(driver_figure core xdp_redirect) + $(driver_figure carrier xdp_redirect)))
    require "RTP packets of $1 relayed in the driver" "$2" -gt "$(($1 * 8 / 10))"
    # AF_XDP sockets are given theirs in the same way.
    require "packets redirected by the driver" "$redirected" \
        "$([[ $datapath == af_xdp ]] && echo -ge || echo -eq)" "$2"
    for side in core carrier; do
        require "packets that $side did not take from the driver" "$(driver_figure "$side" xdp_xmit_errors)" -eq 0
        require "packets sent back by $side's driver" "$(driver_figure "$side" xdp_tx)" -eq 0
    done
    summary "$2 of $1 RTP packets relayed in the driver"
}

# verify_bypass PACKETS: so many were relayed by AF_XDP sockets, all but those that came before their next hop was known
# or, with several shards, by a queue of another.
verify_bypass() {
    local way least=$(($1 * 8 / 10))
    ! grep -q '^media_rtp_shard_1=' after.scrape || least=$(($1 / 4))
    for way in received sent; do
        require "packets $way by AF_XDP sockets" "$(figure after.scrape "media_af_xdp_$way")" -gt "$least"
    done
}

# driver_figure LINK COUNTER: a figure of Moorline's link, of all its queues.
driver_figure() {
    in_ns sbc ethtool -S "$1" | awk -v counter="_$2:" 'substr($1, length($1) - length(counter) + 1) == counter { sum += $2 }
        END { print sum + 0 }'
}

# All that the relay sent carries the code point of its range.
verify_code_points() {
    local side from code_point direction kind odd class source
    while read -r side from code_point direction; do
        class="ip[1] & 0xfc = $((code_point << 2))" source="udp[0:2]"
        # libpcap has no word for the ports of UDP over IPv6.
        [[ $from != *:* ]] || class="ip6[0:2] & 0xfc0 = $((code_point << 6))" source="ip6[40:2]"
        for kind in rtp rtcp; do
            odd=$([[ $kind == rtcp ]] && echo 1 || echo 0)
            require "$kind packets to $side with code point $code_point" \
                "$(packets "$side" "udp and not port 5060 and src net $from and $source & 1 = $odd and $class")" \
                -eq "$(figure captures.figures "${kind}_${direction}_relayed")"
        done
    done <<TEXT
core $(host "$sbc_core_ip") $core_dscp inward
carrier $media_range $carrier_dscp outward
TEXT
}

# Nothing was refused; behind verify_captures.
verify_no_drops() {
    local line allowed
    while IFS== read -r reason count; do
        allowed=0
        # What came late, behind a BYE, and what there was no room for.
        [[ $count == 0 || $reason != media_dropped_@(closed|receive_buffer_full) ]] || allowed=$(may_be_lost)
        require "$reason" "$count" -le "$allowed"
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
