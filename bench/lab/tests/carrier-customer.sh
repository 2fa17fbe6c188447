# The edge of a customer of carrier A, which is SIPp at the addresses of its three regions: calls get there by the first
# address that takes them, with the secret prefix and no faster than is agreed; what the carrier refuses, the caller hears
# in its words; and media is taken from the region's range alone.

# All of the addresses are the carrier's here.
ip -n sbc -o -4 address show dev carrier | awk '$4 ~ /^47\./ { print "address del " $4 " dev carrier" }' |
    ip -n sbc -batch -
in_ns carrier ip route del "$media_range"
media_range=$sbc_carrier_ip/32
for address in 47.103.169.{65,66,75,76,80} 39.96.156.{225,226,227,228,229,230,231} 120.77.136.{225,226,227,228,230}; do
    echo "address add $address/32 dev sbc"
done | ip -n carrier -batch -
for network in 47.103.169.64 39.96.156.224 120.77.136.224; do
    in_ns sbc ip route add "$network/27" via "$carrier_ip"
done

prefix=88061
write_config
keep_secret right "$prefix"
right=$secret
keep_secret wrong 77052
# add_region NAME REGION SECRET_FILE LINE...
add_region() {
    cat >>moorline.toml <<TOML

[[signaling.trunks]]
name = "$1"
listener = "carrier"
media_range = "carrier"
preset = "aliyun-sip"
region = "$2"
secret_prefix.sent_file = "$3"
$(printf '%s\n' "${@:4}")
TOML
}
# SIPp is asked by calls alone here, so that the first address is tried though it is out of order.
add_region shanghai shanghai "$right" "probe_s = 0" "failover_s = 1"
add_region beijing beijing "$right" 'preset_without = ["limits.outbound.calls_per_second"]' \
    'sources = ["39.96.156.225/32"]' 'targets = ["39.96.156.225:5060"]'
add_region shenzhen shenzhen "$right" 'limits.outbound.uncounted_callees = ["07559"]'
# Its calls begin with any of its addresses.
add_region scattered beijing "$right" "spread = true" "probe_s = 0" \
    'sources = ["39.96.156.227/32", "39.96.156.228/32", "39.96.156.231/32"]' \
    'targets = ["39.96.156.227:5060", "39.96.156.228:5060", "39.96.156.231:5060"]'
add_region astray beijing "$secret" 'sources = ["39.96.156.226/32"]' 'targets = ["39.96.156.226:5060"]'
sed -i 's/^to = "carrier"$/&\nprefix = "8"/' moorline.toml
add_route 021 'to = "shanghai"'
add_route 010 'to = "beijing"'
add_route 0755 'to = "shenzhen"'
add_route 020 'to = "astray"'
add_route 029 'to = "scattered"'
add_route 028 'to = [{ trunk = "shanghai", weight = 50 }, { trunk = "beijing", weight = 50 }]'
make_speech 2
start_moorline
start_captures "udp"
# Nobody is at .66 and .76.
start_refuser sh-65 47.103.169.65 503 "Service Unavailable"
start_carrier_a sh-75 47.103.169.75 47.103.169.80 "$prefix"
start_carrier_a bj-225 39.96.156.225 39.96.156.230 "$prefix"
start_carrier_a bj-226 39.96.156.226 39.96.156.229 "$prefix"
scattered=()
for host in 227 228 231; do
    start_carrier_a "bj-$host" "39.96.156.$host" "39.96.156.$host" "$prefix"
    scattered+=("$host:$started")
done
# This one sends media from where it should not.
start_carrier_a sz-225 120.77.136.225 "$carrier_ip" "$prefix"

start_caller failover core "$core_ip" 5100 "$sbc_core_ip:5060" 02112345678 2400
callers=("failover:$started")
start_caller outside core "$core_ip" 5101 "$sbc_core_ip:5060" 075512345678 2400
callers+=("outside:$started")
for code in "${carrier_codes[@]:1}"; do
    start_refused "code-${code%:*}" "$((${code%:*} * 10 + 400))" "01012340${code%:*}" "${code%:*}" "${code#*:}"
    callers+=("code-${code%:*}:$started")
done
start_refused astray 5180 02012345678 470 CONFIG_ERROR
callers+=("astray:$started")
for one in "${callers[@]}"; do
    await_callers "${one%:*}" "${one#*:}" 1
done
# Each number is another one, and so is each caller.
start_many rush 5200 01091 60 1000 500 475 CALL_CAPS_LIMIT
callers=("rush:$started:60")
start_many held-back 5210 07559 60 1000 500 475 CALL_CAPS_LIMIT
callers+=("held-back:$started:60")
for one in "${callers[@]}"; do
    name=${one%%:*} one=${one#*:}
    await_callers "$name" "${one%:*}" "${one#*:}"
done
start_many spread 5220 0289 20 10 300 475 CALL_CAPS_LIMIT
callers=("spread:$started:20")
start_many scattered 5230 0299 30 15 300 475 CALL_CAPS_LIMIT
callers+=("scattered:$started:30")
for one in "${callers[@]}"; do
    name=${one%%:*} one=${one#*:}
    await_callers "$name" "${one%:*}" "${one#*:}"
done
stop_captures
spread_over="" sum=0
for one in "${scattered[@]}"; do
    kill -USR1 "${one#*:}"
    wait "${one#*:}" || true
    took=$(sipp_statistic "bj-${one%:*}" 'SuccessfulCall(C)')
    require "calls of 30 that SIPp took at 39.96.156.${one%:*}" "$took" -ge 1
    verify_sipp "bj-${one%:*}" "$took"
    spread_over+=${spread_over:+, }$took sum=$((sum + took))
done
require "calls that were spread over three addresses" "$sum" -eq 30

# invites IP: how many INVITEs went there, each sent again or not.
invites() {
    tcpdump -n -r carrier.pcap -A "udp and src host $sbc_carrier_ip and dst host $1 and dst port 5060" 2>/dev/null |
        tr -d '\r' | awk '/INVITE sip:/ { invite = 1 } /^Call-ID: / { if (invite) seen[$2]; invite = 0 }
            END { print length(seen) }'
}
for address in 47.103.169.65 47.103.169.66 47.103.169.75; do
    require "calls tried at $address" "$(invites "$address")" -ge 1
done
# With the prefix, but not with the wrong one, and nowhere else.
tcpdump -n -r carrier.pcap -A "src host $sbc_carrier_ip and dst port 5060 and not dst host 39.96.156.226" 2>/dev/null |
    grep -o "INVITE sip:.*@" >invited
require "INVITEs on the carrier's side" "$(wc -l <invited)" -gt 100
require "INVITEs without the secret prefix" "$(grep -vc "sip:${prefix}0[0-9]*@" invited || true)" -eq 0
require "messages with the secret prefix on the customer's side" \
    "$(tcpdump -n -r core.pcap -A "port 5060" 2>/dev/null | lines_with_secret)" -eq 0
require "lines with the secret prefix in the log" "$(lines_with_secret <moorline.log)" -eq 0
# Both of the media's ways, and of the one that came from elsewhere nothing got through.
require "packets of the caller at the carrier" "$(packets carrier "dst host 47.103.169.80 and dst port 20000")" -eq 100
require "packets of the carrier" "$(packets carrier "src host 47.103.169.80 and src port 20000")" -eq 100
port=$(tcpdump -n -r core.pcap -A "src host $core_ip and src port 5101" 2>/dev/null | sed -n 's/^m=audio \([0-9]*\).*/\1/p' | head -n 1)
require "packets from outside the region's range" "$(packets carrier "src host $carrier_ip and src port 20000")" -ge 1
require "packets of them that the caller was sent" "$(packets core "udp dst port ${port:-0} and src host $sbc_core_ip")" -eq 0
# What the carrier refused itself, and what did not get there.
require "calls that Beijing refused of 60 at once" "$(answers carrier.pcap 475 39.96.156.225)" -ge 2
read -r sent took_ms < <(let_through carrier.pcap "sip:${prefix}07559" core.pcap 5210)
require "calls sent to Shenzhen of 60 at once in $took_ms ms" "$sent" -le $((20 + took_ms / 50 + 1))
require "calls sent to Shenzhen of 60 at once" "$sent" -ge 20
shanghai=$(($(invites 47.103.169.75) - 1))
require "calls of 20 that went to Shanghai" "$shanghai" -ge 1
require "calls of 20 that went to Shanghai" "$shanghai" -le 19
summary "$shanghai of 20 calls went to one of two regions, $spread_over of 30 to three addresses of one; $sent of 60 within $took_ms ms were sent on"
await_idle
require "packets refused for the network that they came from" "$(figure after.scrape media_dropped_source_network)" -eq 100
stop_moorline
