# Phones other than SIPp, each with a configuration of its own in the test's directory. Like everything in the lab they
# are started with `start`, and end with the test.

# needs COMMAND PACKAGE: stops the test if the peer is not installed.
needs() {
    command -v "$1" >/dev/null || {
        fault "$1 is not installed: make deps, or apt-get install $2"
        return 1
    }
}

# The WAV file that phones play: 16 bits, mono, 8,000 samples a second.
make_voice() {
    "$MOORLINE_BENCH" speech --seconds "$1" --from-hz 600 voice.wav
}

# Where TLS finds its files: the user that Moorline becomes must be able to read them, too.
tls_files=/run/lab-tls

# Certificates by an authority of the lab's own, for Moorline and for phones on either side.
make_certificates() {
    needs openssl openssl
    mkdir -p "$tls_files"
    local name ip
    openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 2 -subj "/CN=lab" \
        -keyout "$tls_files/ca.key" -out "$tls_files/ca.pem" -addext "keyUsage=critical,keyCertSign,cRLSign" 2>openssl.log
    while read -r name ip; do
        openssl req -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -subj "/CN=$ip" \
            -keyout "$tls_files/$name.key" -out "$tls_files/$name.csr" 2>>openssl.log
        openssl x509 -req -in "$tls_files/$name.csr" -CA "$tls_files/ca.pem" -CAkey "$tls_files/ca.key" -days 2 \
            -out "$tls_files/$name.pem" -extfile <(echo "subjectAltName=IP:$ip") 2>>openssl.log
        # As baresip takes it: both in one.
        cat "$tls_files/$name.pem" "$tls_files/$name.key" >"$tls_files/$name.both"
    done <<TEXT
moorline-core $sbc_core_ip
moorline-carrier $sbc_carrier_ip
core $core_ip
carrier $carrier_ip
TEXT
    chmod -R a+rX "$tls_files"
}

# Listeners for TLS at port 5061, and a trunk for who calls in the core over TLS.
add_tls_listeners() {
    local side ip
    make_certificates
    for side in core carrier; do
        ip=${side/core/$sbc_core_ip}
        ip=${ip/carrier/$sbc_carrier_ip}
        cat >>moorline.toml <<TOML

[[signaling.listeners]]
name = "$side-tls"
bind = "$ip:5061"
transports = ["tls"]

[signaling.listeners.tls]
certificate = "$tls_files/moorline-$side.pem"
key = "$tls_files/moorline-$side.key"
ca = "$tls_files/ca.pem"
TOML
    done
    cat >>moorline.toml <<TOML

[[signaling.trunks]]
name = "customers-tls"
listener = "core-tls"
sources = ["192.0.2.0/24"]
media_range = "core"
media_nat = "off"

[[signaling.routes]]
from = "customers-tls"
to = "carrier"
TOML
}

# phone_config PORT: Moorline for phones at that port on the carrier's side, which 7... reaches, with \$transport;
# \$moorline is then what phones in the core call.
phone_config() {
    local port=$1
    write_config
    if [[ $transport == tls ]]; then
        add_tls_listeners
        add_trunk phone 7 "sip:$carrier_ip:$port;transport=tls" carrier-tls
        moorline="$sbc_core_ip:5061;transport=tls"
    else
        add_trunk phone 7 "sip:$carrier_ip:$port;transport=$transport"
        moorline="$sbc_core_ip:5060;transport=$transport"
    fi
}

# write_baresip NUMBER SIDE PORT [ACCOUNT_PARAMETERS]: the directory NUMBER with the configuration of a baresip that
# speaks \$transport. It listens at PORT with UDP and TCP, and at the next one with TLS. Its account is there, or at
# \$server.
write_baresip() {
    needs baresip baresip-core
    local number=$1 side=$2 port=$3 parameters=${4:-} ip
    ip=$(ip_of "$side")
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
    if [[ $transport == tls ]]; then
        printf 'sip_certificate %s\nsip_cafile %s\n' "$tls_files/$side.both" "$tls_files/ca.pem" >>"$number/config"
    fi
    echo "<sip:$number@${server:-$ip:$port};transport=$transport>$parameters;regint=0;audio_codecs=pcma;ptime=20" \
        >"$number/accounts"
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

# The end of a test with phones: nothing is in use, and all that the captures saw went the named way. With
# --transactions it waits for those too, which takes 32 s (RFC 3261, timers D, J and L).
end_phone_test() {
    await_idle "$@"
    require "RTP packets carried by $datapath" "$(figure after.scrape "media_rtp_$datapath")" -eq "$phone_packets"
    stop_moorline
}

# baresip_calls TRANSPORT: baresip calls SIPp, and SIPp calls baresip, which speaks that transport to Moorline.
baresip_calls() {
    local transport=$1 moorline
    # TLS is at the port after the one that baresip is given.
    phone_config "$([[ $transport == tls ]] && echo 5071 || echo 5070)"
    make_speech 3
    make_voice 10
    write_baresip 2000 core 5070
    write_baresip 7000 carrier 5070 ";answermode=auto"
    start_moorline

    start_phone_captures
    start_called_party
    # -t: baresip hangs up and ends after so many seconds.
    start_baresip 2000 core -t 4 -e "/dial sip:8610086@$moorline"
    wait "$started" || fault "baresip ended with status $?"
    stop_called_party 1
    end_phone_call 5 --call-header User-Agent

    start_baresip 7000 carrier
    start_phone_captures
    start_callers 1 1 3400 7000
    await_callers callers "$callers_pid" 1
    end_phone_call 5
    end_phone_test
}

# Whether a UDP socket is bound there.
listens() {
    [[ -n $(in_ns "$1" ss -H -l -u -n "src $2") ]]
}

# The file that linphonec reads: no network but the one address, and no questions to anybody.
start_linphone() {
    needs linphonec linphone-cli
    local ip=$1 port=$2
    mkdir -p linphone/.local/share/linphone
    cat >linphone/rc <<TEXT
[sip]
sip_port=$port
sip_tcp_port=0
sip_tls_port=0
bind_address=$ip
use_ipv6=0
auto_net_state_mon=0
default_proxy=-1

[net]
mtu=1300
dns_srv_enabled=0

[rtp]
audio_rtp_port=24000
TEXT
    # It ends with its input.
    start linphone carrier env HOME="$PWD/linphone" bash -c 'sleep 300 | linphonec -c "$HOME/rc" -a'
    await "linphonec" listens carrier "$ip:$port"
}

# start_pjsua NAME SIDE OPTION...: the phone of peers/pjsua.py, which speaks \$transport.
start_pjsua() {
    "$LAB_PYTHON" -c "import pjsua2" || {
        fault "$LAB_PYTHON has no pjsua2: make deps, or name one that has as LAB_PYTHON (pip install pjsua2-python)"
        return 1
    }
    local name=$1 side=$2 ip
    shift 2
    ip=$(ip_of "$side")
    start "pjsua-$name" "$side" "$LAB_PYTHON" "$lab_dir/peers/pjsua.py" --ip "$ip" --port 5080 \
        --transport "$transport" --user "$name" --play voice.wav --certificate "$tls_files/$side.pem" \
        --key "$tls_files/$side.key" --ca "$tls_files/ca.pem" "$@"
    await "pjsua ($name)" grep -q "phone is ready" "pjsua-$name.log"
}

# await_pjsua NAME PID: until it ends; it must have had a good call, with media both ways.
await_pjsua() {
    local name=$1 status=0
    wait "$2" || status=$?
    require "status of pjsua ($name)" "$status" -eq 0
    require "RTP packets received by pjsua ($name)" "$(figure "pjsua-$name.log" rtp_received)" -gt 100
}

# pjsua_calls TRANSPORT: pjsua calls SIPp, SIPp calls pjsua, and pjsua calls pjsua.
pjsua_calls() {
    local transport=$1 moorline answerer
    phone_config 5080
    make_speech 3
    make_voice 10
    start_moorline

    start_phone_captures
    start_called_party
    start_pjsua 2000 core --call "sip:8610086@$moorline" --x-call first --seconds 3
    await_pjsua 2000 "$started"
    stop_called_party 1
    end_phone_call 5

    start_pjsua 7000 carrier
    answerer=$started
    start_phone_captures
    start_callers 1 1 3400 7000
    await_callers callers "$callers_pid" 1
    await_pjsua 7000 "$answerer"
    end_phone_call 5

    start_pjsua 7000 carrier
    answerer=$started
    start_phone_captures
    start_pjsua 2000 core --call "sip:7000@$moorline" --x-call second --seconds 3
    await_pjsua 2000 "$started"
    await_pjsua 7000 "$answerer"
    end_phone_call 5
    end_phone_test
}
