# Callers of refused numbers hear why, as early media, and are refused then: what they are sent is the announcement's file,
# octet by octet, one of an operator's own and a built-in one.

# hear NAME NUMBER FILE: a caller of that number hears the file, and is refused.
hear() {
    captures=()
    start_capture "$1" core sbc
    start_refused "$1" 5060 "$2" 473 CALLED_FREQUENCY_LIMIT announced
    await_callers "$1" "$started" 1
    stop_captures
    require_heard "$1" "$1.pcap" 15060 "$3"
}

write_config
mkdir announcements
make_speech 2
cp speech.alaw announcements/own.al
sed -i "s|^\[media\]\$|[media]\nannouncements = \"$PWD/announcements\"|" moorline.toml
for route in "900 own" "901 no-line"; do
    add_route "${route% *}" \
        "refuse = { status = 473, reason = \"CALLED_FREQUENCY_LIMIT\", announcement = \"${route#* }\" }"
done
start_moorline
hear own 9001000 announcements/own.al
hear built-in 9011000 "$repository/media/announcements/no-line.al"
await_idle 40 --transactions
stop_moorline
