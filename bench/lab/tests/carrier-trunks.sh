# What trunks are told, seen by SIPp: a call goes on to the next trunk after an answer code, after a reason phrase and after
# ringing too long; codecs are left out and put in order; header fields are added, changed and left out; and answers become
# other ones, told apart by their reason phrases.

# answering NAME PORT LINE...: a trunk to which no route leads yet.
answering() {
    cat >>moorline.toml <<TOML

[[signaling.trunks]]
name = "$1"
listener = "carrier"
targets = ["$carrier_ip:$2"]
media_range = "carrier"
media_nat = "off"
$(printf '%s\n' "${@:3}")
TOML
}

write_config
sed -i 's/^to = "carrier"$/&\nprefix = "9"/' moorline.toml
answering full 5061
answering lineless 5062
answering ringing 5063 'no_answer_s = 1'
answering busy 5064 'answers = [{ status = "6xx", to_status = 486, to_reason = "Busy Here" }]'
answering moneyless 5065 'answers = [{ status = 480, reason = "(?i)no money", to_status = 402, to_reason = "Pay first" }]'
answering other 5066 'answers = [{ status = 480, reason = "(?i)no money", to_status = 402 }]'
answering opus 5067 'codecs = ["opus"]'
answering last 5068 'codecs = ["g729", "pcma"]' 'headers = [' \
    '    { on = "sent", name = "X-Region", add = "north", methods = ["INVITE"] },' \
    '    { on = "sent", name = "X-Inside", remove = true },' \
    '    { on = "sent", name = "X-Number", pattern = "^\\+86([0-9]+)$", replace = "0$1" },' \
    '    { on = "received", name = "X-Carrier", remove = true, messages = "responses" },' ']'
add_route 1 'to = ["full", "lineless", "ringing", "last"]' \
    'failover = { statuses = [503, 408, 480], reasons = [{ status = 404, reason = "no line*" }] }'
add_route 2 'to = "busy"'
add_route 3 'to = "moneyless"'
add_route 4 'to = "other"'
add_route 5 'to = "opus"'
# Nothing is said here of phrases: the caller hears it.
add_route 6 'to = ["lineless", "last"]'
make_speech 2
start_moorline
start_captures udp
port=5061 start_refuser full "$carrier_ip" 503 "Service Unavailable"
port=5062 start_refuser lineless "$carrier_ip" 404 "No line in the route"
start_sipp ringing carrier "$carrier_ip" 5063 -sf "$lab_dir/scenarios/uas-rings.xml"
await "SIPp (ringing)" grep -qs . sipp-ringing.csv
port=5064 start_refuser busy "$carrier_ip" 603 "Decline"
port=5065 start_refuser moneyless "$carrier_ip" 480 "No Money left"
port=5066 start_refuser other "$carrier_ip" 480 "Codec mismatch"
sed "s/\[last_Record-Route:\]/&\n      X-Carrier: secret/" "$lab_dir/scenarios/uas.xml" >last.xml
start_sipp last carrier "$carrier_ip" 5068 -sf last.xml -mp 20000 -rtp_echo
last=$started
await "SIPp (last)" grep -qs . sipp-last.csv

sed -e 's/RTP\/AVP 8$/RTP\/AVP 0 8 18 101/; s/^      a=rtpmap:8 .*/&\n      a=rtpmap:101 telephone-event\/8000/' \
    -e 's/^      X-Hangup: .*/&\n      X-Inside: yes\n      X-Number: +8613800138000/' "$lab_dir/scenarios/uac.xml" >many-codecs.xml
start_sipp calls core "$core_ip" 5100 "$sbc_core_ip:5060" -sf many-codecs.xml -s 10012345 -d 2400 -m 1 \
    -key caller 01000000 -key call_header X-Call
calls=$started
start_refused busy-caller 5110 2000 486 "Busy Here"
refused=("busy-caller:$started")
start_refused moneyless-caller 5120 3000 402 "Pay first"
refused+=("moneyless-caller:$started")
start_refused other-caller 5130 4000 480 "Codec mismatch"
refused+=("other-caller:$started")
start_refused opus-caller 5140 5000 488 ""
refused+=("opus-caller:$started")
start_refused lineless-caller 5150 6000 404 "No line in the route"
refused+=("lineless-caller:$started")
for one in "${refused[@]}"; do
    await_callers "${one%:*}" "${one#*:}" 1
done
await_callers calls "$calls" 1
stop_captures
stop_answerer last "$last" 1

require "packets of the call at the last trunk" "$(packets carrier "dst host $carrier_ip and dst port 20000")" -eq 100
require "packets back" "$(packets carrier "src host $carrier_ip and src port 20000")" -eq 100
# invited PORT: the INVITE that went there.
invited() {
    tcpdump -n -r carrier.pcap -A "udp and src host $sbc_carrier_ip and dst port $1" 2>/dev/null | tr -d '\r' |
        awk '/INVITE sip:/ { on = 1 } /ACK sip:|CANCEL sip:|BYE sip:/ { on = 0 } on'
}
for port in 5061 5062 5063; do
    require "calls that were tried at port $port" "$(invited $port | grep -c "SIP: INVITE sip:1" || true)" -eq 1
done
invited 5068 >last.invite
for line in "^m=audio [0-9]* RTP/AVP 18 8 101$" "^X-Region: north$" "^X-Number: 013800138000$"; do
    grep -q "$line" last.invite || fault "the INVITE to the last trunk lacks $line: $(tr '\n' '|' <last.invite)"
done
require "header fields that were to be left out" "$(grep -c "^X-Inside" last.invite || true)" -eq 0
require "such fields before" "$(tcpdump -n -r core.pcap -A 2>/dev/null | grep -c "^X-Inside" || true)" -eq 1
require "fields of the carrier in its answers" "$(tcpdump -n -r carrier.pcap -A 2>/dev/null | grep -c "^X-Carrier" || true)" -ge 1
require "fields of the carrier that the caller saw" "$(tcpdump -n -r core.pcap -A 2>/dev/null | grep -c "^X-Carrier" || true)" -eq 0
require "calls that went to the trunk without a codec in common" "$(invited 5067 | grep -c INVITE || true)" -eq 0
await_idle
stop_moorline
