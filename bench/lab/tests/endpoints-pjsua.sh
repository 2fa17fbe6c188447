# pjsua registers over UDP and TLS: two telephones of one user get a message, and ring, and one answers; at the same time
# the carrier calls another user. Who goes says so.

write_config
make_certificates
add_telephones 'transports="udp", "tls"'
make_voice 10
make_speech 3
start_moorline
start_captures not "(udp[2:2] & 1 = 1)"

register_pjsua 6000 6000 udp 5080
one=$started
register_pjsua 6001-rings 6001 udp 5082 --ring
rings=$started
register_pjsua 6001-answers 6001 tls 5084
answers=$started
look registered
require "bindings" "$(figure registered.scrape bindings)" -eq 3
start_sipp message carrier "$carrier_ip" 5072 "$sbc_carrier_ip:5060" -sf "$lab_dir/scenarios/message.xml" -s 6001 -m 1
await_callers message "$started" 1
for name in 6001-rings 6001-answers; do
    await "the message to $name" grep -q "^message: lunch at noon" "pjsua-$name.log"
done
register_pjsua 6002 6002 tls 5086 --call "sip:6001@$registrar;transport=tls" --hold --seconds 4
caller=$started
start_caller from-carrier carrier "$carrier_ip" 5070 "$sbc_carrier_ip:5060" 6000 3400
await_callers from-carrier "$started" 1
await_pjsua 6000 "$one"
await_pjsua 6002 "$caller"
await_pjsua 6001-answers "$answers"
for name in 6002 6001-answers; do
    require "pjsua ($name) on hold" "$(figure "pjsua-$name.log" was_held)" -eq 1
done
wait "$rings" || fault "the telephone that only rang ended with status $?"
require "answer to who was cancelled" "$(figure pjsua-6001-rings.log last_status)" -eq 487
stop_captures
verify_media --outward 100 --inward 150 --lost 5
tcpdump -n -r core.pcap -A "udp port 5062" >core.sip 2>/dev/null
require "REGISTERs with SHA-256" "$(grep -c '^Authorization:.*algorithm=SHA-256' core.sip)" -ge 1
require "CANCELs of who was slower" "$(grep -c '^Reason:.*Call completed elsewhere' core.sip)" -ge 1
await_idle
require "bindings in the end" "$(figure after.scrape bindings)" -eq 0
require "RTP packets carried by $datapath" "$(figure after.scrape "media_rtp_$datapath")" \
    -eq "$(figure captures.figures rtp_outward_relayed rtp_inward_relayed)"
stop_moorline
