# The signaling process is killed in mid-call: media goes on as if nothing had happened, the process that
# takes its place takes the calls back, and a BYE from either side ends them on both.

make_speech 5
start_moorline
start_captures
hold_calls held
start_called_party 1000
start_callers 10 20 1000
start_hung_up_callers 10 20
await_calls_up 20
# All of them have media.
await_media 3000
victim=$(child_of_moorline signaling)
kill -KILL "$victim"
await "the next signaling process" follows signaling "$victim"
await_ready restarted
await "the calls that are taken back" counts 20 sip_restored
await_media $(($(figure now.scrape "media_rtp_$datapath" media_rtp_xdp) + 3000))
let_calls_end
await_callers callers "$callers_pid" 10
await_callers hung-up "$hung_up_pid" 10
stop_captures
stop_called_party 20
verify_captures --calls 20
await_idle
require "calls taken back" "$(figure after.scrape sip_restored)" -eq 20
require "sessions that belonged to no call" "$(figure after.scrape sip_not_restored)" -eq 0
require "another signaling process" "$(child_of_moorline signaling)" -ne "$victim"
verify_datapath
verify_no_drops
stop_moorline
