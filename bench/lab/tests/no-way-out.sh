# The lab refuses to run if a packet could leave it. Each way out is tried in a scratch lab of its own.

scratch() {
    unshare --mount --net -- bash -euc '
        source "$1/network.sh"
        mount -t tmpfs scratch /run
        mkdir /run/netns
        network_up
        eval "$2"
        if refuse_way_out; then echo "let through"; else echo "refused"; fi
    ' scratch "$lab_dir" "$1" 2>&1
}

expect() {
    local verdict=$1 what=$2 answer
    answer=$(scratch "$3")
    echo "$what: $answer"
    [[ $(tail -n 1 <<<"$answer") == "$verdict" ]] || fault "$what: $(tail -n 1 <<<"$answer"), not $verdict"
    [[ $verdict != refused ]] || grep -q "there is a way out of $4" <<<"$answer" || fault "$what: not named"
}

expect "let through" "nothing but the lab" true ""
expect refused "a default route" "ip -n carrier route add default via $sbc_carrier_ip" carrier
expect refused "a default route for IPv6" "ip -n core -6 route add default via fe80::1 dev sbc" core
expect refused "a route to a network elsewhere" "ip -n sbc route add 10.0.0.0/8 via $core_ip" sbc
expect refused "a route in a table of its own" "ip -n sbc route add default via $core_ip table 7" sbc
expect refused "a link of the surroundings" \
    "ip link add out type veth peer name lab netns core; ip link set out up; ip -n core link set lab up" core
summary "5 ways out refused, a lab without any let through"
