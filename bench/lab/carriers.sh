# Carriers and their customers: what a trunk is told besides, callers who are refused, and what they hear.

# add_to_trunk NAME LINE...: more keys of a trunk of moorline.toml.
add_to_trunk() {
    local name=$1 lines
    lines=$(printf '\\n%s' "${@:2}")
    sed -i "/^\[\[signaling.trunks\]\]\$/,/^\[\[signaling.routes\]\]\$/ s|^name = \"$name\"\$|&$lines|" moorline.toml
}

# add_route PREFIX LINE...: another route for calls of the core's customers.
add_route() {
    printf '\n[[signaling.routes]]\nprefix = "%s"\n' "$1" >>moorline.toml
    printf '%s\n' "${@:2}" >>moorline.toml
}

# keep_secret NAME TEXT: a file of one line that the user may read whom Moorline becomes; its path is in $secret.
keep_secret() {
    secret=/run/lab-secrets/$1
    mkdir -p /run/lab-secrets
    install -m 0400 -o nobody <(echo "$2") "$secret"
}

# start_refused NAME PORT NUMBER STATUS REASON [ANNOUNCED [HEADER]]: a caller who is to be refused with that status and
# reason phrase; with "announced" after early media, which are sent to the port 10000 above.
start_refused() {
    local name=$1 port=$2 optional='optional="true"'
    [[ ${6:-} != announced ]] || optional=""
    sed -e "s/STATUS/$4/g; s/REASON/$5/; s/OPTIONAL/$optional/" "$lab_dir/scenarios/uac-refused.xml" >"$name.xml"
    start_sipp "$name" core "$core_ip" "$port" "$sbc_core_ip:5060" -sf "$name.xml" -s "$3" -m 1 \
        -key caller "${caller:-01000000}" -mp $((port + 10000)) -rtp_echo
}

# lines_with_secret: how many lines show $prefix in front of a number, and not in the middle of a time or an identifier.
lines_with_secret() {
    grep -Ec "(^|[^0-9a-fA-F.])$prefix[0-9]{3}" || true
}

# hex FILE: its octets.
hex() {
    od -An -v -tx1 "$1" | tr -d ' \n'
}

# heard CAPTURE PORT: the octets that a caller was sent there by RTP, behind the headers of IPv4, UDP and RTP.
heard() {
    tcpdump -r "$1" -n -x "udp and src host $sbc_core_ip and dst host $core_ip and dst port $2" 2>/dev/null |
        awk '/^\t0x/ { sub(/^\t0x[0-9a-f]*: */, ""); gsub(/ /, ""); packet = packet $0; next }
            { print substr(packet, 81); packet = "" }
            END { print substr(packet, 81) }' | tr -d '\n'
}

# require_heard NAME CAPTURE PORT FILE: the caller there was sent that file of A-law, whole and once.
require_heard() {
    local name=$1 file=$4 octets said
    octets=$(stat -c %s "$file")
    said=$(heard "$2" "$3")
    require "packets of 20 ms that $name was sent" $((${#said} / 320)) -eq $(((octets + 159) / 160))
    # The last packet is filled up with silence.
    [[ $said == "$(hex "$file")"* ]] || fault "$name heard something else than $file"
    summary "$name heard $octets octets in $((${#said} / 320)) packets"
}

# start_many NAME PORT NUMBERS CALLS RATE TALK_MS STATUS REASON: calls to NUMBERS0, NUMBERS1 and on, each by another caller,
# which may be let through or refused so.
start_many() {
    sed -e "s/STATUS/$7/g; s/REASON/$8/" "$lab_dir/scenarios/uac-many.xml" >"$1.xml"
    start_sipp "$1" core "$core_ip" "$2" "$sbc_core_ip:5060" -sf "$1.xml" -s "$3" -m "$4" -r "$5" -d "$6" -l 1000 \
        -key caller "${caller:-0100}" -mp $(($2 + 10000)) -rtp_echo
}

# answers CAPTURE STATUS IP [IP]: how many answers to INVITE of that status went from there, and there; once each.
answers() {
    local from="src host $3" to="${4:+and dst host $4}"
    tcpdump -n -r "$1" -A "udp port 5060 and $from $to" 2>/dev/null | tr -d '\r' | awk -v status="$2" '
        /SIP\/2\.0 [0-9]/ { match($0, /SIP\/2\.0 [0-9]+/); code = substr($0, RSTART + 8, 3) }
        /^Call-ID: / { id = $2 }
        /^CSeq: / { if (code == status && $3 == "INVITE" && !seen[id]++) n++; code = "" }
        END { print n + 0 }'
}

# let_through CAPTURE TEXT FROM_CAPTURE PORT: how many calls went on whose INVITE has that text in its first line, and how
# many milliseconds there were from the first INVITE that came from that port to the last of theirs.
let_through() {
    local first
    first=$(tcpdump -tt -n -r "$3" "udp dst port 5060 and src port $4" 2>/dev/null | awk '/SIP: INVITE/ && !n++ { print $1 }')
    tcpdump -tt -n -r "$1" -A "udp dst port 5060" 2>/dev/null | tr -d '\r' | awk -v text="$2" -v first="$first" '
        / IP / { at = $1 }
        /INVITE sip:/ { invite = index($0, text) }
        /^Call-ID: / { if (invite && !seen[$2]++) { n++; last = at } invite = 0 }
        END { printf "%d %d\n", n, n ? (last - first) * 1000 : 0 }'
}

# The answer codes of carrier A.
carrier_codes=(470:CONFIG_ERROR 471:NO_AVAILABLE_LINE 472:ILLEGAL_CALLER_NUMBER 473:CALLED_FREQUENCY_LIMIT
    474:CALLED_BLACKLIST_LIMIT 475:CALL_CAPS_LIMIT 476:ACCOUNT_STOP_LIMIT 477:CALLER_FREQUENCY_LIMIT)

# start_carrier_a NAME IP MEDIA_IP SECRET: one of carrier A's signaling addresses; its process ID is in $started.
start_carrier_a() {
    local name=$1 code
    for code in "${carrier_codes[@]}"; do
        cat <<XML
  <label id="refuse_${code%:*}"/>
  <send retrans="2000" next="refused">
    <![CDATA[

      SIP/2.0 ${code%:*} ${code#*:}
      [last_Via:]
      [last_From:]
      [last_To:];tag=[pid]s[call_number]
      [last_Call-ID:]
      [last_CSeq:]
      Content-Length: 0

    ]]>
  </send>

XML
    done >"$name.refusals"
    sed -e "s/SECRET/$4/" -e "/^  REFUSALS\$/{r $name.refusals
        d}" "$lab_dir/scenarios/carrier-a.xml" >"$name.xml"
    start_sipp "$name" carrier "$2" 5060 -sf "$name.xml" -mi "$3" -mp 20000 -rtp_echo
    await "SIPp ($name)" grep -qs . "sipp-$name.csv"
}

# start_refuser NAME IP STATUS REASON: refuses every call.
start_refuser() {
    sed -e "s/STATUS/$3/g; s/REASON/$4/" "$lab_dir/scenarios/uas-refused.xml" >"$1.xml"
    start_sipp "$1" carrier "$2" "${port:-5060}" -sf "$1.xml"
    await "SIPp ($1)" grep -qs . "sipp-$1.csv"
}
