# sipsak and sipvicious look for an open door: to a stranger Moorline is not there; to a trunk's address it
# answers pings, and neither lets a call pass that no route allows, nor registers anybody, nor tells numbers apart.

stranger=198.51.100.66
in_ns carrier ip address add "$stranger/24" dev sbc
export HOME=$PWD
needs sipsak sipsak
needs svwar sipvicious
start_moorline
start_captures

# start_scan NAME COMMAND...: a scanner in the carrier's namespace. Whatever it finds is in scan-NAME.log.
start_scan() {
    start "scan-$1" carrier timeout 60 "${@:2}"
    scans+=("$started")
}

scan_all() {
    local who=$1
    scans=()
    start_scan "$who-ping" timeout 3 sipsak -v -s "sip:$sbc_carrier_ip"
    start_scan "$who-svmap" svmap -P 5061 "$sbc_carrier_ip"
    start_scan "$who-svwar-INVITE" svwar -P 5062 -e 100-110 -m INVITE "$sbc_carrier_ip"
    start_scan "$who-svwar-REGISTER" svwar -P 5063 -e 100-110 -m REGISTER "$sbc_carrier_ip"
    start_scan "$who-svwar-OPTIONS" svwar -P 5064 -e 100-110 -m OPTIONS "$sbc_carrier_ip"
    start_scan "$who-svcrack" svcrack -P 5065 -u 100 -r 1-20 "$sbc_carrier_ip"
    wait "${scans[@]}" || true
}

# The scanners take the address that leads there.
in_ns carrier ip route replace "$sbc_carrier_ip/32" dev sbc src "$stranger"
scan_all stranger
in_ns carrier ip route del "$sbc_carrier_ip/32"
scan_all trunk
stop_captures
await_idle

# answers PORTS: the statuses that were sent to the scanners there.
answers() {
    tcpdump -n -r carrier.pcap "udp and src host $sbc_carrier_ip and dst portrange $1" 2>/dev/null |
        sed -n 's/.*SIP: SIP\/2.0 \([0-9]*\) .*/\1/p' | sort -u | tr '\n' ' '
}

# Scanners give up on who is silent.
require "packets by the stranger" "$(packets carrier "udp and src host $stranger")" -ge 6
require "packets to the stranger" "$(packets carrier "src host $sbc_carrier_ip and dst host $stranger and not arp")" -eq 0
require "requests by strangers counted" "$(figure after.scrape sip_unknown_source)" -ge 6
grep -q "SIP/2.0 200 OK" scan-trunk-ping.log || fault "sipsak's ping from the trunk was not answered"
grep -q "$sbc_carrier_ip:5060" scan-trunk-svmap.log || fault "svmap's ping from the trunk was not answered"
require "packets that passed to the core" "$(packets core udp)" -eq 0
require "calls admitted" "$(figure after.scrape sip_calls)" -eq 0
# One answer to all numbers, the one first that nobody can have among them, of each method.
[[ $(answers 5062-5064) == "404 405 " ]] || fault "svwar was answered $(answers 5062-5064)"
# svwar names all numbers or none.
for method in INVITE REGISTER OPTIONS; do
    grep -q "found nothing" "scan-trunk-svwar-$method.log" ||
        require "numbers that svwar tells apart by $method" "$(grep -c "^WARNING.*extension '" "scan-trunk-svwar-$method.log")" -eq 12
done
[[ $(answers 5065-5065) == "405 " ]] || fault "svcrack was answered $(answers 5065-5065)"
if grep -q Password scan-*-svcrack.log; then
    fault "svcrack found a password"
fi
summary "$(figure after.scrape sip_unknown_source) requests of a stranger left unanswered"
stop_moorline
