# Callers of refused numbers hear why, as early media, and are refused then: what they are sent is the announcement's file,
# octet by octet, one of an operator's own and built-in ones. So do callers whose call went on, and was refused by the called
# side, or met with silence there.

needs nft nftables
write_config
mkdir announcements
make_speech 2
cp speech.alaw announcements/own.al
sed -i "s|^\[media\]\$|[media]\nannouncements = \"$PWD/announcements\"|" moorline.toml

# add_answering NAME NUMBERS PORT LINE...: a trunk with an answer map, to which these numbers go.
add_answering() {
    add_trunk "$1" "$2" "$carrier_ip:$3"
    add_to_trunk "$1" "${@:4}"
}

for route in "900 own" "901 no-line"; do
    add_route "${route% *}" \
        "refuse = { status = 473, reason = \"CALLED_FREQUENCY_LIMIT\", announcement = \"${route#* }\" }"
done
add_answering busy 902 5061 'answers = [{ status = 486, announcement = "own" }]'
add_answering moneyless 903 5062 \
    'answers = [{ status = 480, reason = "(?i)no money", to_status = 402, announcement = "suspended-for-arrears" }]'
add_answering silent 904 5063 'failover_s = 1' 'answers = [{ status = 408, to_status = 480, announcement = "no-line" }]'
# Only its other words are announced.
add_answering other 905 5064 'answers = [{ status = 480, reason = "(?i)codec", announcement = "own" }]'
# Nobody is there, and nobody says so.
in_ns carrier nft 'table inet silence { chain coming { type filter hook input priority filter; udp dport 5063 drop; }; }'
start_moorline
start_captures
port=5061 start_refuser busy "$carrier_ip" 486 "Busy Here"
port=5062 start_refuser moneyless "$carrier_ip" 480 "No money left"
port=5064 start_refuser other "$carrier_ip" 480 "No money left"

callers=()
# call NAME PORT NUMBER STATUS REASON [ANNOUNCED]: the caller's media go to the port 10000 above.
call() {
    start_refused "$@"
    callers+=("$1:$started")
}
call own 5100 9001000 473 CALLED_FREQUENCY_LIMIT announced
call built-in 5110 9011000 473 CALLED_FREQUENCY_LIMIT announced
call busy-caller 5120 9021000 486 "Busy Here" announced
call moneyless-caller 5130 9031000 402 "Payment Required" announced
call silent-caller 5140 9041000 480 "Temporarily Unavailable" announced
call other-caller 5150 9051000 480 "No money left"
for one in "${callers[@]}"; do
    await_callers "${one%:*}" "${one#*:}" 1
done
stop_captures

# last_to PORT: the last packet for the caller there.
last_to() {
    tcpdump -n -r core.pcap "udp and dst host $core_ip and (dst port $1 or dst port $(($1 + 10000)))" 2>/dev/null | tail -n 1
}

while read -r name port status file; do
    require_heard "$name" core.pcap $((port + 10000)) "$file"
    [[ $(last_to "$port") == *"SIP: SIP/2.0 $status "* ]] || fault "$name was not refused after it had heard all: $(last_to "$port")"
done <<TEXT
own 5100 473 announcements/own.al
built-in 5110 473 $repository/media/announcements/no-line.al
busy-caller 5120 486 announcements/own.al
moneyless-caller 5130 402 $repository/media/announcements/suspended-for-arrears.al
silent-caller 5140 480 $repository/media/announcements/no-line.al
TEXT
require "packets to who is told nothing" "$(packets core "udp dst port 15150")" -eq 0
# Those that were refused by their number went nowhere.
for port in 5061 5062 5063 5064; do
    require "INVITEs at port $port" "$(tcpdump -n -r carrier.pcap "udp and dst port $port" 2>/dev/null | grep -c "SIP: INVITE" || true)" -ge 1
done
require "calls that went on" "$(tcpdump -n -r carrier.pcap "udp" 2>/dev/null | grep "SIP: INVITE" | grep -co "sip:90[01]" || true)" -eq 0
await_idle --transactions
stop_moorline
