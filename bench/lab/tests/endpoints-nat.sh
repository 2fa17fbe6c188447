# Telephones behind NAT: the carrier calls one, and one at a public address another. Calls and media find their way through
# the NAT, which keep-alives hold open, and media are led through the relay.

needs nft nftables
home_up
write_config
add_telephones nat=auto keep_alive_s=5
make_voice 10
make_speech 3
start_moorline

# Without RTCP; behind NAT only the relay's ports tell.
start_captures "not (src net ($media_range or $sbc_core_ip) and udp[0:2] & 1 = 1)" \
    and "not (dst net ($media_range or $sbc_core_ip) and udp[2:2] & 1 = 1)"
start keep-alives sbc tcpdump -i core -n -l -A --immediate-mode "udp port 5062"
keep_alives=$started
home=home register_pjsua 6000 6000 udp 5080
telephones=("$started")
home=home register_pjsua 6002 6002 udp 5084
telephones+=("$started")
# The NAT is held open for both, before they are called.
await "keep-alives of both" heard_keep_alives 2
kill -TERM "$keep_alives"
wait "$keep_alives" || true
start_caller from-carrier carrier "$carrier_ip" 5070 "$sbc_carrier_ip:5060" 6000 3400
await_callers from-carrier "$started" 1
await_pjsua 6000 "${telephones[0]}"
stop_captures
verify_media --outward 100 --inward 150 --lost 5
carried=$(figure captures.figures rtp_outward_relayed rtp_inward_relayed)
ports=$(tcpdump -n -r core.pcap "src host $core_ip" 2>/dev/null | awk '{ print $3 }' | sort -u | grep -c "\.3[0-9][0-9][0-9][0-9]$")
require "ports of the NAT" "$ports" -ge 3

register_pjsua 6001 6001 udp 5086 --ip "$core_proxy_ip" --call "sip:6002@$registrar" --seconds 3
await_pjsua 6001 "$started"
await_pjsua 6002 "${telephones[1]}"
await_idle
# Each of the two sent 50 packets a second for some 3 s.
require "RTP packets of telephones by the relay" $(($(figure after.scrape "media_rtp_$datapath") - carried)) -ge 200
require "bindings in the end" "$(figure after.scrape bindings)" -eq 0
stop_moorline
