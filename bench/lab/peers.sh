# Peers other than SIPp: phones and a proxy, each with a configuration of its own in the test's directory. Like
# everything in the lab they are started with `start`, and end with the test.

# The WAV file that phones play: 16 bits, mono, 8,000 samples a second.
make_voice() {
    "$MOORLINE_BENCH" speech --seconds "$1" --from-hz 600 voice.wav
}

# write_baresip NUMBER IP PORT TRANSPORT [ACCOUNT_PARAMETER]: the directory NUMBER with baresip's configuration. It
# listens at PORT with UDP and TCP, and at the next one with TLS.
write_baresip() {
    local number=$1 ip=$2 port=$3 transport=$4 parameters=${5:-}
    mkdir -p "$number"
    # A player that leads nowhere: without one, baresip has no audio at all.
    cat >"$number/config" <<TEXT
poll_method epoll
sip_listen $ip:$port
net_interface $ip
audio_source aufile,$PWD/voice.wav
audio_player aubridge,nowhere
audio_alert aubridge,nowhere
rtp_ports 22000-22999
module_path /usr/lib/baresip/modules
module g711.so
module aufile.so
module aubridge.so
module_tmp account.so
module_app menu.so
TEXT
    echo "<sip:$number@$ip:$port;transport=$transport>;regint=0;audio_codecs=pcma;ptime=20$parameters" >"$number/accounts"
    : >"$number/contacts"
}

# start_baresip NUMBER NAMESPACE OPTION...: baresip with the configuration of that number.
start_baresip() {
    local number=$1 namespace=$2
    shift 2
    start "baresip-$number" "$namespace" baresip -f "$PWD/$number" -p "$PWD/$number" "$@"
    await "baresip ($number)" grep -q "baresip is ready" "baresip-$number.log"
}

# Captures without RTCP: phones send it even before the answer and behind the BYE, when nobody may pass it on.
start_phone_captures() {
    start_captures not "(udp[2:2] & 1 = 1)"
}

# end_phone_call LOST OPTION...: judges what start_phone_captures has begun; LOST packets may have come when the
# call was over on Moorline's side already. With `tls` as the transport only media shows.
end_phone_call() {
    local lost=$1
    shift
    stop_captures
    if [[ $transport == tls ]]; then
        # Of 3 s of speech or voice.
        verify_media --outward 100 --inward 100 --lost "$lost"
    else
        verify_captures --calls 1 --lost "$lost" "$@"
    fi
    phone_packets=$((${phone_packets:-0} + $(figure captures.figures rtp_outward_relayed rtp_inward_relayed)))
}

# The end of a test with phones: nothing is in use, and all that the captures saw went the named way.
end_phone_test() {
    await_idle 10 "$@"
    require "RTP packets carried by $datapath" "$(figure after.scrape "media_rtp_$datapath")" -eq "$phone_packets"
    stop_moorline
}

# baresip_calls TRANSPORT: baresip calls SIPp, and SIPp calls baresip, which speaks that transport to Moorline.
baresip_calls() {
    local transport=$1
    write_config
    add_trunk phone 7 "$carrier_ip:5070"
    make_speech 3
    make_voice 10
    write_baresip 2000 "$core_ip" 5070 "$transport"
    write_baresip 7000 "$carrier_ip" 5070 "$transport" ";answermode=auto"
    start_moorline

    start_phone_captures
    start_called_party
    # -t: baresip hangs up and ends after so many seconds.
    start_baresip 2000 core -t 4 -e "/dial sip:8610086@$sbc_core_ip:5060;transport=$transport"
    wait "$started" || fault "baresip ended with status $?"
    stop_called_party 1
    end_phone_call 2 --call-header User-Agent

    start_baresip 7000 carrier
    start_phone_captures
    start_callers 1 1 3400 7000
    await_callers callers "$callers_pid" 1
    end_phone_call 2
    end_phone_test
}
