# The forwarders' network: the relay's namespace, around it nothing, and two links to the generator's.
#
# Source it inside `unshare --net --mount`: that namespace is the relay's. Its ends of the links are `left` and
# `right`; receive work of these is done by kernel threads pinned to the relay core, that of the other ends on
# the generator core. With the last process of the namespaces everything here is gone.

relay_core=${RELAY_CORE:-1}
generator_core=${GENERATOR_CORE:-0}

lab_up() {
    mount --make-rprivate /
    mount -t tmpfs tmpfs /run
    mkdir -p /run/netns
    mount -t sysfs sysfs /sys
    ip netns add far
    sysctl -qw net.ipv6.conf.all.disable_ipv6=1 net.ipv6.conf.default.disable_ipv6=1 \
        net.ipv4.conf.all.rp_filter=0 net.ipv4.conf.default.rp_filter=0
    ip netns exec far sysctl -qw net.ipv6.conf.all.disable_ipv6=1 net.ipv6.conf.default.disable_ipv6=1
    ip link set lo up
    lab_link left 1 192.0.2.1 192.0.2.10
    lab_link right 2 198.51.100.1 198.51.100.10
    relay_threads=$(lab_threads left),$(lab_threads right)
    far_threads=$(lab_threads far-left),$(lab_threads far-right)
    local thread
    for thread in ${relay_threads//,/ }; do taskset -pc "$relay_core" "$thread" > /dev/null; done
    # The generator spins: what comes out of the relay must not wait for it.
    for thread in ${far_threads//,/ }; do
        taskset -pc "$generator_core" "$thread" > /dev/null
        chrt -f -p 1 "$thread"
    done
}

# lab_link NAME NUMBER RELAY_ADDRESS FAR_ADDRESS
lab_link() {
    # Names of their own, so that this lab's kernel threads can be told from another's.
    local near=$1 far=far-$1
    ip link add "$near" address 02:00:00:00:00:0"$2" type veth peer name "$far" address 02:00:00:00:01:0"$2" netns far
    # A veth end receives by NAPI, which threads need, if GRO is on there and TSO off where packets come from;
    # else its receive work is done on the sender's core, as the sender's.
    ethtool -K "$near" gro on tso off
    ip netns exec far ethtool -K "$far" gro on tso off
    local before after
    before=$(lab_napi)
    ip link set "$near" up
    echo 1 > /sys/class/net/"$near"/threaded
    after=$(lab_napi)
    lab_thread[$near]=$(comm -13 <(echo "$before") <(echo "$after"))
    before=$after
    ip -n far link set "$far" up
    # The far end looks for packets by a timer: woken by each of them it would cost the relay an interrupt to the
    # other core for every packet it sends, which no network card asks of it.
    ip netns exec far bash -c "cd /sys/class/net/$far
        echo 1 > threaded; echo 250000 > gro_flush_timeout; echo 100000 > napi_defer_hard_irqs"
    after=$(lab_napi)
    lab_thread[$far]=$(comm -13 <(echo "$before") <(echo "$after"))
    ip address add "$3/24" dev "$near"
    # The far side has no address: its packets are made and taken beside its stack.
    ip neigh add "$4" lladdr 02:00:00:00:01:0"$2" dev "$near" nud permanent
    ip neigh add "${4%.*}.254" lladdr 02:00:00:00:01:0"$2" dev "$near" nud permanent
}

# The far hosts are on the link, or behind a gateway.
lab_hop() {
    local host
    for host in 192.0.2.10 198.51.100.10; do
        if [[ $1 == gateway ]]; then ip route replace "$host/32" via "${host%.*}.254"
        else ip route del "$host/32" 2> /dev/null || true; fi
    done
}

declare -A lab_thread
lab_frames=udp
lab_threads() { echo "${lab_thread[$1]}" | paste -sd, -; }

# The process ids of all NAPI threads, sorted as text.
lab_napi() { { grep -lE "^napi/" /proc/[0-9]*/comm 2> /dev/null || true; } | cut -d/ -f3 | sort; }

# The sides as `bypass` is told of them, and as `born` is.
lab_near_sides=(left,02:00:00:00:01:01,192.0.2.1,192.0.2.10 right,02:00:00:00:01:02,198.51.100.1,198.51.100.10)
lab_far_sides=(far/far-left,02:00:00:00:00:01,192.0.2.1,192.0.2.10 far/far-right,02:00:00:00:00:02,198.51.100.1,198.51.100.10)

# Refuses to go on if a packet could leave.
lab_closed() {
    local found
    found=$({ ip -o link; ip -n far -o link; } | awk -F': ' '$2 !~ /^(lo|(far-)?(left|right)@.*)$/ && $3 ~ /[<,]UP[,>]/')
    [[ -z $found ]] || { echo "refused: a way out: $found" >&2; return 1; }
}

# The settings that an alternative may change for its run: a sysctl; `hop`; `left/FILE`, a file of both links
# under /sys/class/net; `frames`: from sockets (udp), with whole checksums as from a network card (full), or born in
# XDP (born; highest for the highest rate); `firewall`: none, one that tracks connections, or one that leaves media alone.
lab_set() {
    local key=${1%%=*} value=${1#*=} link
    case $key in
        hop) lab_hop "$value" ;;
        frames) lab_frames=$value; lab_far_timer "$value" ;;
        */*) for link in left right; do echo "$value" > "/sys/class/net/$link/${key#*/}"; done ;;
        firewall) lab_firewall "$value" ;;
        *) sysctl -qw "$1" ;;
    esac
}
lab_get() {
    case $1 in
        hop) echo gateway ;;
        frames) echo udp ;;
        */*) cat "/sys/class/net/left/${1#*/}" ;;
        firewall) echo none ;;
        *) sysctl -n "$1" ;;
    esac
}

# Frames born in XDP come faster than packets do, and the links hold 256 of them.
lab_far_timer() {
    local flush=250000 end
    case $1 in born | highest) flush=100000 ;; esac
    for end in left right; do
        ip netns exec far bash -c "echo $flush > /sys/class/net/far-$end/gro_flush_timeout"
    done
}

lab_firewall() {
    nft delete table ip media 2> /dev/null || true
    [[ $1 != none ]] || return 0
    nft add table ip media
    if [[ $1 == notrack ]]; then
        nft add chain ip media early '{ type filter hook prerouting priority raw; }'
        nft add rule ip media early udp dport 20000-59999 notrack
        nft add chain ip media late '{ type filter hook output priority raw; }'
        nft add rule ip media late udp sport 20000-59999 notrack
    fi
    nft add chain ip media input '{ type filter hook input priority filter; }'
    nft add rule ip media input ct state established,related accept
}
