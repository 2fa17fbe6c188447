# pjsua calls pjsua, and both insist on reliable provisional answers and session timers; the call is put on hold,
# and taken up again.

transport=udp
phone_config 5080
make_voice 10
start_moorline
start_pjsua 7000 carrier --extensions
answerer=$started
start_phone_captures
start_pjsua 2000 core --call "sip:7000@$moorline" --extensions --hold --seconds 4
await_pjsua 2000 "$started"
await_pjsua 7000 "$answerer"
for phone in 2000 7000; do
    require "pjsua ($phone) on hold" "$(figure "pjsua-$phone.log" was_held)" -eq 1
done
end_phone_call 5
for side in core carrier; do
    tcpdump -n -r "$side.pcap" -A "udp port 5060" >"$side.sip" 2>/dev/null
    require "reliable answers in $side" "$(grep -c "^RSeq:" "$side.sip")" -ge 1
    require "their acknowledgements in $side" "$(grep -c "^RAck:" "$side.sip")" -ge 1
    require "session timers in $side" "$(grep -ci "^Session-Expires:" "$side.sip")" -ge 2
done
end_phone_test
