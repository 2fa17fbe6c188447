# Callers of refused numbers hear why, as early media, and are refused then: what they are sent is the announcement's file,
# octet by octet, one of an operator's own and a built-in one.

# hex FILE: its octets.
hex() {
    od -An -v -tx1 "$1" | tr -d ' \n'
}

# heard CAPTURE: the octets that the caller was sent by RTP, behind the headers of IPv4, UDP and RTP.
heard() {
    tcpdump -r "$1" -n -x "udp and src host $sbc_core_ip and dst host $core_ip and dst port 20000" 2>/dev/null |
        awk '/^\t0x/ { sub(/^\t0x[0-9a-f]*: */, ""); gsub(/ /, ""); packet = packet $0; next }
            { print substr(packet, 81); packet = "" }
            END { print substr(packet, 81) }' | tr -d '\n'
}

# hear NAME NUMBER FILE: a caller of that number hears the file, and is refused.
hear() {
    local name=$1 number=$2 file=$3 octets said
    captures=()
    start_capture "$name" core sbc
    start_sipp "$name" core "$core_ip" 5060 "$sbc_core_ip:5060" -sf "$lab_dir/scenarios/uac-announced.xml" -s "$number" \
        -m 1 -mp 20000 -rtp_echo
    await_callers "$name" "$started" 1
    stop_captures
    octets=$(stat -c %s "$file")
    said=$(heard "$name.pcap")
    require "packets of 20 ms that $name was sent" $((${#said} / 320)) -eq $(((octets + 159) / 160))
    # The last packet is filled up with silence.
    [[ $said == "$(hex "$file")"* ]] || fault "$name heard something else than $file"
    summary "$name heard $octets octets in $((${#said} / 320)) packets"
}

write_config
mkdir announcements
make_speech 2
cp speech.alaw announcements/own.al
sed -i "s|^\[media\]\$|[media]\nannouncements = \"$PWD/announcements\"|" moorline.toml
for route in "900 own" "901 no-line"; do
    cat >>moorline.toml <<TOML

[[signaling.routes]]
prefix = "${route% *}"
refuse = { status = 473, reason = "CALLED_FREQUENCY_LIMIT", announcement = "${route#* }" }
TOML
done
start_moorline
hear own 9001000 announcements/own.al
hear built-in 9011000 "$repository/media/announcements/no-line.al"
await_idle 40 --transactions
stop_moorline
