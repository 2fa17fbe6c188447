# Telephones register with their passwords, call each other and a carrier, and are called by it: first with their media
# past the relay, then through it. In between signaling is killed: calls go on, and bindings are what was written down.

write_config
add_telephones 'algorithms="md5"'
make_speech 2
start_moorline

# What 6002 says of itself is not where it is.
start_register register-6000 6000 1234 "$core_ip" 5080
pids=("$started")
start_register register-6001 6001 4321 "$core_proxy_ip" 5080
pids+=("$started")
start_register register-6002 6002 5678 "$core_ip" 5090 200 10.0.0.7:5060
pids+=("$started")
start_register wrong 6000 0000 "$core_ip" 5091 403
pids+=("$started")
start_register nobody 6666 1234 "$core_ip" 5092 403
await_callers register-6000 "${pids[0]}" 1
await_callers register-6001 "${pids[1]}" 1
await_callers register-6002 "${pids[2]}" 1
await_callers wrong "${pids[3]}" 1
await_callers nobody "$started" 1
look registered
require "bindings" "$(figure registered.scrape bindings)" -eq 3
require "wrong credentials" "$(figure registered.scrape sip_wrong_credentials)" -eq 2

start_answerer 6000 core "$core_ip" 5080
answerers=("$started")
start_answerer 6001 core "$core_proxy_ip" 5080
answerers+=("$started")
start_answerer 6002 core "$core_ip" 5090 -mp 20100
answerers+=("$started")

# Media that go past the relay do not leave the telephones' namespace.
start_captures
start_capture telephones core lo udp
start_called_party
hold_calls held 1
call_header=X-Telephone start_telephone_call 6000-6001 6000 "$core_ip" 5081 6001 2400
pids=("$started")
call_header=X-Telephone start_telephone_call 6001-6000 6001 "$core_proxy_ip" 5081 6000 2400
pids+=("$started")
start_telephone_call 6000-carrier 6000 "$core_ip" 5082 8610086 2400
pids+=("$started")
await_calls_up 3
sed -i 's/^media = "bypass"/media = "anchor"/' moorline.toml
victim=$(child_of_moorline signaling)
kill -KILL "$victim"
await "the next signaling process" follows signaling "$victim"
await_ready restarted
require "bindings after the restart" "$(figure restarted.scrape bindings)" -eq 3
require "calls taken back" "$(figure restarted.scrape sip_restored)" -eq 3
let_calls_end
await_callers 6000-6001 "${pids[0]}" 1
await_callers 6001-6000 "${pids[1]}" 1
await_callers 6000-carrier "${pids[2]}" 1
stop_called_party 1
stop_captures
verify_captures --calls 1
carried=$(figure captures.figures rtp_outward_relayed rtp_inward_relayed)
look bypassed
require "RTP packets carried by $datapath" "$(figure bypassed.scrape "media_rtp_$datapath")" -eq "$carried"
while read -r caller called; do
    require "RTP packets from $caller to $called" \
        "$(packets telephones "src host $caller and dst host $called and dst port 20000")" -eq 100
    require "RTP packets back" "$(packets telephones "src host $called and dst host $caller and src port 20000")" -eq 100
done <<TEXT
$core_ip $core_proxy_ip
$core_proxy_ip $core_ip
TEXT

# At the same time the carrier calls 6002.
start_captures
start_capture 6000 core sbc host "$core_ip" and not port 5090 and not port 20100
start_capture 6001 core sbc host "$core_proxy_ip"
start_telephone_call anchored 6000 "$core_ip" 5083 6001 2400
pids=("$started")
start_caller from-carrier carrier "$carrier_ip" 5070 "$sbc_carrier_ip:5060" 6002 2400
await_callers anchored "${pids[0]}" 1
await_callers from-carrier "$started" 1
stop_captures
verify_media_between 6000 6001 "$sbc_core_ip/32" --outward 100 --inward 100
carried=$((carried + $(figure captures.figures rtp_outward_relayed rtp_inward_relayed)))
for way in src dst; do
    require "RTP packets of the carrier's call" "$(packets carrier "net $media_range and $way host $carrier_ip")" -eq 100
    require "RTP packets of the called telephone" "$(packets core "port 20100 and $way host $core_ip")" -eq 100
done
stop_answerer 6000 "${answerers[0]}" 1
stop_answerer 6001 "${answerers[1]}" 2
stop_answerer 6002 "${answerers[2]}" 1
await_idle
require "RTP packets carried by $datapath in all" "$(figure after.scrape "media_rtp_$datapath")" -eq $((carried + 200))
verify_no_drops
stop_moorline
