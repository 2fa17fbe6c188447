# FreeRADIUS judges who registers and calls: the right password, a wrong one, a user whom it does not know; then it is
# gone, and comes back.

write_config
add_telephones users=radius
make_speech 2
start_radius
start_moorline

# judged NAME USER PASSWORD STATUS
judged() {
    start_register "$1" "$2" "$3" "$core_ip" 5080 "$4"
    await_callers "$1" "$started" 1
}

judged right 6000 1234 200
judged wrong 6000 0000 403
judged unknown 6666 1234 403
start_captures
start_called_party
start_telephone_call calls 6000 "$core_ip" 5081 8610086 2400
await_callers calls "$started" 1
stop_called_party 1
stop_captures
verify_captures --calls 1
kill -KILL "$radius_pid"
wait "$radius_pid" || true
judged unjudged 6000 1234 503
grep -q "WARN.*the RADIUS server is asked last.*127.0.0.1:1812" moorline.log || fault "nothing is said of the RADIUS server that is gone"
start_radius
judged again 6000 1234 200
grep -q "the RADIUS server answers again" moorline.log || fault "nothing is said of the RADIUS server that is back"
await_idle
require "bindings" "$(figure after.scrape bindings)" -eq 1
require "wrong credentials" "$(figure after.scrape sip_wrong_credentials)" -eq 2
verify_no_drops
stop_moorline
