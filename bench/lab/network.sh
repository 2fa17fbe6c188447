# The lab's network: three namespaces and the two links between them.
#
#   core 192.0.2.10, .30 ---- 192.0.2.1 sbc 198.51.100.1, 47.103.169.64/27 ---- 198.51.100.20, .30 carrier
#
# Runs inside the private mount, network and PID namespaces that `lab` makes, where /run/netns is a tmpfs of
# its own: with the last process of those, everything here is gone.

core_ip=192.0.2.10
sbc_core_ip=192.0.2.1
carrier_ip=198.51.100.20
sbc_carrier_ip=198.51.100.1
# For a proxy on either side.
core_proxy_ip=192.0.2.30
carrier_proxy_ip=198.51.100.30
media_range=47.103.169.64/27
core_network=192.0.2.0/24
# IPv6 on both links, for tests that want it.
core_ip6=2001:db8:a::10
sbc_core_ip6=2001:db8:a::1
core_network6=2001:db8:a::/64
carrier_ip6=2001:db8:c::20
sbc_carrier_ip6=2001:db8:c::1
media_range6=2001:db8:c::100/124
# Behind NAT in the core, for tests that want it.
home_ip=10.0.0.2
lab_namespaces=(core sbc carrier)

# Runs a command in a namespace of the lab. Not by `ip netns exec`, which makes a mount namespace for it, at whose end the
# kernel waits for grace periods of RCU: seconds on a busy machine, for each command. /sys shows no namespace's links so.
in_ns() {
    local name=$1
    shift
    nsenter --net="/run/netns/$name" -- "$@"
}

# Where phones are, by their namespace.
ip_of() {
    case $1 in
        core) echo "$core_ip" ;;
        carrier) echo "$carrier_ip" ;;
        home) echo "$home_ip" ;;
    esac
}

network_up() {
    local name host
    for name in "${lab_namespaces[@]}"; do
        ip netns add "$name"
        # No address may wait for duplicate detection, no router may be asked for, and a packet may come in
        # by a link that is not the way back to its sender.
        in_ns "$name" sysctl -qw net.ipv6.conf.all.accept_dad=0 net.ipv6.conf.default.accept_dad=0 \
            net.ipv6.conf.all.accept_ra=0 net.ipv6.conf.default.accept_ra=0 \
            net.ipv6.conf.all.router_solicitations=0 net.ipv6.conf.default.router_solicitations=0 \
            net.ipv4.conf.all.rp_filter=0 net.ipv4.conf.default.rp_filter=0
        in_ns "$name" ip link set lo up
    done
    link core sbc "$core_ip/24" "$sbc_core_ip/24"
    link carrier sbc "$carrier_ip/24" "$sbc_carrier_ip/24"
    in_ns core ip address add "$core_proxy_ip/24" dev sbc
    in_ns carrier ip address add "$carrier_proxy_ip/24" dev sbc
    for host in {64..95}; do
        echo "address add 47.103.169.$host/32 dev carrier"
    done | ip -n sbc -batch -
    in_ns carrier ip route add "$media_range" via "$sbc_carrier_ip"
}

# IPv6 on both links, beside IPv4.
ipv6_up() {
    local host
    in_ns core ip address add "$core_ip6/64" dev sbc nodad
    in_ns sbc ip address add "$sbc_core_ip6/64" dev core nodad
    in_ns carrier ip address add "$carrier_ip6/64" dev sbc nodad
    in_ns sbc ip address add "$sbc_carrier_ip6/64" dev carrier nodad
    for host in {0..15}; do
        echo "address add ${media_range6%0/124}$(printf %x "$host")/128 dev carrier nodad"
    done | ip -n sbc -batch -
}

# A fourth namespace, `home`, whose packets leave the core from ports that are none of theirs.
home_up() {
    ip netns add home
    link home core "$home_ip/24" 10.0.0.1/24
    in_ns home ip link set lo up
    in_ns home ip route add default via 10.0.0.1
    in_ns core sysctl -qw net.ipv4.ip_forward=1
    in_ns core nft -f - <<'TEXT'
table ip home {
    chain leaving {
        type nat hook postrouting priority srcnat
        ip saddr 10.0.0.0/24 oifname "sbc" udp dport 0-65535 masquerade to :30000-39999 random
    }
}
TEXT
}

# A veth pair: in each namespace the link is named after the other one.
link() {
    local left=$1 right=$2 left_address=$3 right_address=$4
    ip link add "$right" netns "$left" type veth peer name "$left" netns "$right"
    in_ns "$left" ip link set dev "$right" mtu 1500 up
    in_ns "$right" ip link set dev "$left" mtu 1500 up
    in_ns "$left" ip address add "$left_address" dev "$right"
    in_ns "$right" ip address add "$right_address" dev "$left"
}

# Refuses to go on if a packet could leave the lab. Looks at the lab's namespaces and at the one that holds
# them, because a link into that one would be half of a way out.
refuse_way_out() {
    local name found
    for name in "${lab_namespaces[@]}" ""; do
        found=$(ways_out "$name")
        if [[ -n $found ]]; then
            echo "lab: refused: there is a way out of ${name:-the namespace around the lab}:" >&2
            echo "${found//$'\n'/$'\n    '}" | sed '1s/^/    /' >&2
            echo "lab: no test was run; take away that route or link" >&2
            return 1
        fi
    done
}

# One line for each route or link of a namespace that is not of the lab; the empty name is the namespace
# around the lab.
ways_out() {
    local name=$1 family
    local -a ip=(ip)
    local allowed_links='^lo$'
    [[ -z $name ]] || ip=(ip -n "$name")
    case $name in
        core | carrier) allowed_links='^(lo|sbc)$' ;;
        sbc) allowed_links='^(lo|core|carrier)$' ;;
    esac
    # `ip -o link` prints "2: sbc@if3: <...": the name without its peer.
    "${ip[@]}" -o link show | awk -F': ' '{ split($2, part, "@"); print part[1] }' | while read -r link; do
        # The kernel's own tunnel devices (tunl0, sit0, ...) are in every new namespace, down and unusable.
        if [[ ! $link =~ $allowed_links ]] && [[ $("${ip[@]}" -o link show dev "$link") == *[\<,]UP[\>,]* ]]; then
            echo "link $link is not of the lab"
        fi
    done
    for family in -4 -6; do
        "${ip[@]}" "$family" route show table all | while read -r route; do
            is_route_of_lab "$route" || echo "route $route"
        done
    done
}

# A route is the lab's if it ends in this host, or leads to one of the lab's networks.
is_route_of_lab() {
    case $1 in
        local\ * | broadcast\ * | multicast\ * | anycast\ * | unreachable\ *) return 0 ;;
        192.0.2.0/24\ * | 198.51.100.0/24\ * | 47.103.169.64/27\ *) return 0 ;;
        fe80::/64\ * | ff00::/8\ *) return 0 ;;
    esac
    return 1
}
