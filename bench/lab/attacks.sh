# Attacks on the media of calls, and what shows whether anything of them gets through.

# No party of any call.
stranger=198.51.100.66

# The size of the attack. `make test` runs with what a busy machine of two cores holds in a debug build; by hand, on
# a quiet machine and with release builds in MOORLINE and MOORLINE_BENCH: LAB_ATTACK=full.
if [[ ${LAB_ATTACK:-} == full ]]; then
    attack_calls=500 attack_rate=100000 attack_seconds=10
else
    attack_calls=${LAB_ATTACK_CALLS:-100} attack_rate=${LAB_ATTACK_RATE:-20000} attack_seconds=${LAB_ATTACK_SECONDS:-1}
fi

# Counts what carries the mark of `moorline-bench attack`: what leaves Moorline's host, before any queue in which it
# could be lost, and what reaches either side.
watch_forged() {
    local name
    unwatch
    in_ns sbc nft -f - <<'TEXT'
table inet watch {
    counter forged { }
    chain leaving {
        type filter hook output priority filter
        meta l4proto udp @th,160,64 0x4d464f5247454421 counter name forged
    }
}
TEXT
    for name in core carrier; do
        in_ns "$name" nft -f - <<'TEXT'
table inet watch {
    counter forged { }
    chain coming {
        type filter hook prerouting priority filter
        meta l4proto udp @th,160,64 0x4d464f5247454421 counter name forged
    }
}
TEXT
    done
    prove_watch
}

# forged_seen NAMESPACE: how many packets the watch there has counted.
forged_seen() {
    in_ns "$1" nft list counter inet watch forged | awk '$1 == "packets" { print $2 }'
}

# A watch that never sees anything proves nothing: it must count packets that do leave Moorline's host.
prove_watch() {
    local content name
    for content in rtp rtcp; do
        in_ns sbc "$MOORLINE_BENCH" attack --source stranger --from "$sbc_core_ip" --content "$content" \
            --to "$core_ip:20000-20019" --rate 200 --seconds 1 >"watch-$content.figures"
    done
    local sent
    sent=$(($(figure watch-rtp.figures attack_datagrams) + $(figure watch-rtcp.figures attack_datagrams)))
    for name in sbc core; do
        await "the forged packets that the watch in $name is shown" has_seen_forged "$name" "$sent"
        in_ns "$name" nft reset counters table inet watch >/dev/null
    done
}

# has_seen_forged NAMESPACE COUNT
has_seen_forged() {
    (($(forged_seen "$1") == $2))
}

# Not one forged packet has come out of Moorline.
verify_watch() {
    local name
    for name in sbc core carrier; do
        require "forged packets seen in $name" "$(forged_seen "$name")" -eq 0
    done
}

unwatch() {
    local name
    for name in sbc core carrier; do
        # Declared first, so that there is one to delete, be it that of a test that failed.
        in_ns "$name" nft 'table inet watch { }; delete table inet watch'
    done
}

# From here on, every flow from the carrier to the relay is noted.
note_flows() {
    in_ns carrier nft -f - <<TEXT
table ip flows
delete table ip flows
table ip flows {
    set flows {
        type ipv4_addr . inet_service . ipv4_addr . inet_service
        size 65535
        flags dynamic
    }
    chain leaving {
        type filter hook output priority filter
        ip daddr $media_range udp dport 1024-65535 add @flows { ip saddr . udp sport . ip daddr . udp dport }
    }
}
TEXT
}

# Leaves in `flows` the flows noted, as `moorline-bench attack` reads them. The attacker's own are not to be among
# them, so no more are noted.
take_flows() {
    # RTCP of all of them too.
    await "RTCP of each call" has_noted_rtcp
    in_ns carrier nft list set ip flows flows | grep -oE '[0-9.]+ \. [0-9]+ \. [0-9.]+ \. [0-9]+' |
        sed -E 's/ \. ([0-9]+) \. /:\1 /; s/ \. /:/' | sort >flows
    in_ns carrier nft delete table ip flows
    require "flows of RTP noted" "$(grep -c '[02468]$' flows)" -eq "$attack_calls"
}

has_noted_rtcp() {
    # None at first, which is no fault.
    (($(in_ns carrier nft list set ip flows flows |
        { grep -oE '[0-9.]+ \. [0-9]+ \. [0-9.]+ \. [0-9]*[13579]\b' || true; } | wc -l) >= attack_calls))
}

# start_calls NAME TALK_S SEED: the calls that are to be attacked; $calls_pid is their generator. Returns when all are up.
start_calls() {
    local name=$1 talk_s=$2 seed=$3
    start "$name" sbc "$MOORLINE_BENCH" load --caller-netns core --callee-netns carrier --sbc "$sbc_core_ip:5060" \
        --caller "$core_ip:5060" --callee "$carrier_ip:5060" --relay-network "$media_range" \
        --relay-network "$sbc_core_ip/32" --calls "$attack_calls" --rate 200 --talk-s "$talk_s" --seed "$seed"
    calls_pid=$started
    calls_up=$((${calls_up:-0} + attack_calls))
    await_calls_up "$calls_up"
}

# end_calls NAME: waits for the generator, and requires that its calls went through and that nothing came that the
# other side had not sent. Loss is for the caller to judge.
end_calls() {
    local key
    # Its verdict counts loss as well.
    wait "$calls_pid" || true
    require "calls completed ($1)" "$(figure "$1.log" calls_completed)" -eq "$attack_calls"
    for key in rtp_corrupted rtp_crossed rtp_wrong_source rtp_duplicated rtcp_wrong; do
        require "$key ($1)" "$(figure "$1.log" "$key")" -eq 0
    done
    require "packets sent ($1)" "$(figure "$1.log" rtp_sent)" -gt 0
}

# attack NAME OPTION...: from the carrier's side for the time of one attack. It must have been refused to the last
# packet, and counted.
attack() {
    local name=$1 sent refused lost_before lost
    shift
    look "before-$name"
    lost_before=$(unheard)
    in_ns carrier "$MOORLINE_BENCH" attack --rate "$attack_rate" --seconds "$attack_seconds" "$@" >"$name.figures" ||
        fault "the attack $name could not be made"
    sent=$(figure "$name.figures" attack_datagrams)
    # What waits in sockets is looked at, too.
    await "the end of the attack $name" all_accounted_for || true
    require "datagrams of the attack $name" "$sent" -gt "$((attack_rate * attack_seconds / 10))"
    # Beyond what was forged, only what a party sent and the host had no room for, or sent to a port in flood.
    require "refused beyond those of the attack $name" "$((refused - sent))" -le "$(bystanders "$name")"
    summary "$name: $sent forged at $(figure "$name.figures" attack_rate)/s, refused: $(reasons "$name")"
}

# Whether what was sent in the attack was refused, or lost before any socket.
all_accounted_for() {
    look "after-$name"
    lost=$(($(unheard) - lost_before))
    refused=$(($(refusals "after-$name") - $(refusals "before-$name")))
    ((refused >= sent - lost))
}

# Everything that the media process has refused or lost, for any reason.
refusals() {
    awk -F= '/^media_dropped_/ { sum += $2 } END { print sum + 0 }' "$1.scrape"
}

# How many packets of parties can be among what was refused: those that a full socket lost, and 50 a second of the one
# call whose port was cut for its flood.
bystanders() {
    local count
    count=$(refused_for "$1" receive_buffer_full)
    (($(refused_for "$1" port_flooded) == 0)) || count=$((count + 50 * (attack_seconds + 1)))
    echo "$count"
}

# Refusals of an attack by reason.
reasons() {
    join -t= <(grep '^media_dropped_' "before-$1.scrape" | sort) <(grep '^media_dropped_' "after-$1.scrape" | sort) |
        awk -F= '$3 > $2 { sub("media_dropped_", "", $1); printf "%s%s %d", (n++ ? ", " : ""), $1, $3 - $2 }'
}

# refused_for NAME REASON: how many in an attack.
refused_for() {
    echo "$(($(figure "after-$1.scrape" "media_dropped_$2") - $(figure "before-$1.scrape" "media_dropped_$2")))"
}

# Packets that the kernel lost before any socket of Moorline's: in the queues of all cores (those of other namespaces
# too), in reassembly, and for want of a socket or of room in one.
unheard() {
    in_ns sbc awk -v sum="$(host_drops)" '($1 == "Udp:" || $1 == "Ip:") {
            if (!($1 in seen)) { seen[$1] = split($0, name) }
            else { split($0, value); for (i = 2; i <= seen[$1]; i++)
                if (name[i] ~ /^(RcvbufErrors|NoPorts|InCsumErrors|InDiscards|ReasmFails)$/) sum += value[i] }
        } END { print sum }' /proc/net/snmp
}

# lost_ppm NAME: what the calls lost, in packets of a million.
lost_ppm() {
    echo "$(($(figure "$1.log" rtp_lost) * 1000000 / $(figure "$1.log" rtp_sent)))"
}
