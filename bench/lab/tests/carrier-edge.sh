# The edge of a carrier whose customer abuses it: each thing that is not allowed has an answer code of its own, and the
# customer hears the announcement that goes with it, octet by octet. What is allowed goes through meanwhile.

prefix=88061
write_config
keep_secret customer "$prefix"
add_to_trunk customers 'preset = "aliyun-sip-customer"' "secret_prefix.received_file = \"$secret\"" \
    'limits.inbound.uncounted_callees = ["0108"]'
# No other number is anywhere.
sed -i 's/^to = "carrier"$/&\nprefix = "0"/' moorline.toml
add_route 4 'to = "carrier"'
add_route 9 'to = "carrier"'
cat >>moorline.toml <<TOML

[[signaling.blacklist]]
caller = "0200666"

[[signaling.blacklist]]
called = "0104444"
TOML
install -d -m 0700 -o nobody "$state"
sed -i "s|^\[signaling\]$|&\nstate = \"$state\"|" moorline.toml
make_speech 1
start_moorline
start_captures "udp port 5060 or dst portrange 15000-16999"
start_answerer called carrier "$carrier_ip" 5060
called_pid=$started

# Five calls to one callee are all that a day has; and a caller has all of its calls up.
start_caller fifth core "$core_ip" 5100 "$sbc_core_ip:5060" "${prefix}01055550000" 300 -m 5 -r 20
await_callers fifth "$started" 5
hold_calls held
caller=01077770000 start_caller twenty core "$core_ip" 5101 "$sbc_core_ip:5060" "${prefix}01080000000" 1000 -m 20 -r 15
twenty=$started
await_calls_up 25
caller=01077770000 start_refused twenty-first 5180 "${prefix}01012345678" 477 CALLER_FREQUENCY_LIMIT announced
refused=("twenty-first:$started")

start_refused stranger 5110 01012345678 470 CONFIG_ERROR
await_callers stranger "$started" 1
start_refused no-line 5120 "${prefix}71234567" 471 NO_AVAILABLE_LINE
await_callers no-line "$started" 1
caller=02006660000 start_refused listed-caller 5130 "${prefix}01012345678" 472 ILLEGAL_CALLER_NUMBER announced
refused+=("listed-caller:$started")
start_refused sixth 5140 "${prefix}01055550000" 473 CALLED_FREQUENCY_LIMIT announced
refused+=("sixth:$started")
start_refused listed-callee 5150 "${prefix}01044440000" 474 CALLED_BLACKLIST_LIMIT announced
refused+=("listed-callee:$started")
start_refused barred-400 5160 "${prefix}4008001234" 474 CALLED_BLACKLIST_LIMIT announced
refused+=("barred-400:$started")
start_refused barred-95 5170 "${prefix}95588" 474 CALLED_BLACKLIST_LIMIT announced
refused+=("barred-95:$started")
# At the same time, 60 calls at once.
start_many many 5190 "${prefix}0108" 60 1000 500 475 CALL_CAPS_LIMIT
many=$started
for one in "${refused[@]}"; do
    await_callers "${one%:*}" "${one#*:}" 1
done
await_callers many "$many" 60
let_calls_end
await_callers twenty "$twenty" 20

# An account runs out of money while calls are up, and is filled up again.
in_ns sbc "$MOORLINE" limits set --config moorline.toml customers arrears=true >limits.log
start_refused arrears 5200 "${prefix}01012345678" 476 ACCOUNT_STOP_LIMIT announced
await_callers arrears "$started" 1
in_ns sbc "$MOORLINE" limits set --config moorline.toml customers arrears=false >>limits.log
start_caller paid core "$core_ip" 5210 "$sbc_core_ip:5060" "${prefix}01012345678" 300
await_callers paid "$started" 1
stop_captures

for one in listed-caller:15130 sixth:15140 listed-callee:15150 barred-400:15160 barred-95:15170 twenty-first:15180; do
    require_heard "${one%:*}" core.pcap "${one#*:}" "$repository/media/announcements/call-restricted.al"
done
require_heard arrears core.pcap 15200 "$repository/media/announcements/suspended-for-arrears.al"
for port in 15110 15120; do
    require "packets to who hears nothing at port $port" "$(packets core "udp dst port $port")" -eq 0
done
# Of the 60, each was let through or refused; of those let through there may be 20, and one for each 50 ms.
answered=$(answers core.pcap 200 "$sbc_core_ip")
many_answered=$((answered - 26)) many_refused=$(answers core.pcap 475 "$sbc_core_ip")
read -r went_on took_ms < <(let_through carrier.pcap sip:0108 core.pcap 5190)
require "calls that went on" "$went_on" -eq $((many_answered + 20))
require "calls let through or refused" $((many_answered + many_refused)) -eq 60
require "calls refused of 60 at once" "$many_refused" -ge 1
require "calls let through of 60 at once in $took_ms ms" "$many_answered" -le $((20 + took_ms / 50 + 1))
summary "of 60 calls within $took_ms ms $many_answered were let through"
stop_answerer called "$called_pid" "$answered"
# What was agreed on stands between the two parties and nowhere else.
require "INVITEs with the secret prefix inside" "$(tcpdump -n -r carrier.pcap -A 2>/dev/null | lines_with_secret)" -eq 0
require "INVITEs with the secret prefix outside" "$(tcpdump -n -r core.pcap -A 2>/dev/null | lines_with_secret)" -ge 60
require "lines with the secret prefix in the log" "$(lines_with_secret <moorline.log)" -eq 0
await_idle
stop_moorline
