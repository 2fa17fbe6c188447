# baresip registers over TCP, and over TLS at another listener; one calls the other, and at the same time the carrier
# calls a third one. Those on streams are kept alive, called when signaling was killed, and gone with their streams.

write_config
make_certificates
# This one gives up where anything but MD5 is offered too.
add_telephones keep_alive_s=5 'algorithms="md5"'
add_telephones name=telephones-tls port=5063 keep_alive_s=5 'transports="tls"' 'algorithms="md5"'
make_voice 10
make_speech 3
start_moorline

# write_telephone USER TRANSPORT PORT OF_REGISTRAR PORT
write_telephone() {
    transport=$2 server="$sbc_core_ip:$3" write_baresip "$1" core "$4" \
        ";auth_user=$1;auth_pass=$(password_of "$1");regint=60;answermode=auto"
}

write_telephone 6000 tcp 5062 5070
write_telephone 6001 tls 5063 5072
write_telephone 6002 tls 5063 5074
start_captures not "(udp[2:2] & 1 = 1)"
start keep-alives sbc tcpdump -i core -n -l -A --immediate-mode "tcp port 5062"
keep_alives=$started
start_capture telephones core lo "udp[2:2] & 1 = 0"
start_baresip 6000 core
telephones=("$started")
start_baresip 6002 core
telephones+=("$started")
await "the telephones' registration" has_bindings 2
start_baresip 6001 core -t 4 -e "/dial sip:6000@$sbc_core_ip:5063;transport=tls"
caller=$started
start_caller from-carrier carrier "$carrier_ip" 5070 "$sbc_carrier_ip:5060" 6002 3400
await_callers from-carrier "$started" 1
wait "$caller" || fault "baresip ended with status $?"
# Its call is over, and its binding gone.
await_idle
await "the end of its binding" has_bindings 2
await "two keep-alives over TCP" heard_keep_alives 2
kill -TERM "$keep_alives"
wait "$keep_alives" || true
stop_captures
verify_media --outward 100 --inward 150 --lost 5
carried=$(figure captures.figures rtp_outward_relayed rtp_inward_relayed)
# Each sends 50 packets a second for some 3 s.
require "RTP packets past the relay" "$(packets telephones "udp")" -ge 200
require "telephones that sent them" "$(tcpdump -n -r telephones.pcap 2>/dev/null | awk '{ print $3 }' | sort -u | wc -l)" -eq 2

# A telephone whose stream went with the process before is called over another one.
start_captures not "(udp[2:2] & 1 = 1)"
victim=$(child_of_moorline signaling)
kill -KILL "$victim"
await "the next signaling process" follows signaling "$victim"
await_ready restarted
require "bindings after the restart" "$(figure restarted.scrape bindings)" -eq 2
start_caller after-restart carrier "$carrier_ip" 5071 "$sbc_carrier_ip:5060" 6000 3400
await_callers after-restart "$started" 1
stop_captures
verify_media --outward 100 --inward 150 --lost 5
kill -KILL "${telephones[@]}"
await "the end of the bindings" has_bindings 0
await_idle
require "RTP packets carried by $datapath" "$(figure after.scrape "media_rtp_$datapath")" \
    -eq $((carried + $(figure captures.figures rtp_outward_relayed rtp_inward_relayed)))
stop_moorline
