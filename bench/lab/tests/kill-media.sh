# The media process is killed in mid-call: its sessions come back on the same ports, all at once, and the calls end as
# if nothing had happened. Where the driver relays it goes on alone meanwhile, and not one packet is lost.

[[ $offload == true ]] && by=media_rtp_xdp || by=media_rtp_$datapath
make_speech 5
start_moorline
start_captures
hold_calls held
start_called_party 1000
start_callers 10 20 1000
start_hung_up_callers 10 20
await_calls_up 20
# Of 2,000 a second.
await "RTP packets" counts 5000 "$by"
look before-kill
victim=$(child_of_moorline media)
killed_at=$EPOCHREALTIME
kill -KILL "$victim"
await "the next media process" follows media "$victim"
# Each call has its 100 packets a second again.
await "the sessions" counts 20 media_sessions
await_media 500
away_ms=$(((${EPOCHREALTIME/./} - ${killed_at/./}) / 1000))
await "RTP packets again" counts 5000 "$by"
let_calls_end
await_callers callers "$callers_pid" 10
await_callers hung-up "$hung_up_pid" 10
stop_captures
stop_called_party 20
if [[ $offload == true ]]; then
    verify_captures --calls 20
    require "packets relayed in the driver before" "$(figure before-kill.scrape media_rtp_xdp)" -gt 3000
else
    # What 20 calls of 100 packets a second lose until it is there. How long that takes is the kernel's affair too: AF_XDP
    # sockets keep a process from its end for some grace periods of RCU.
    verify_captures --calls 20 --lost $((2 * away_ms)) --interruption-ms "$away_ms"
    summary "interrupted for at most $(figure captures.figures rtp_outward_interruption_ms) ms, of $away_ms until it was looked at"
    require "packets lost, which shows that media was killed" \
        "$(figure captures.figures rtp_outward_lost rtp_inward_lost)" -gt 0
fi
await_idle
require "another media process" "$(child_of_moorline media)" -ne "$victim"
require "packets relayed by the next media process" "$(figure after.scrape "media_rtp_$datapath")" -gt 0
if [[ $offload == true ]]; then
    # Most of what came since.
    rest=$(($(figure captures.figures rtp_outward_relayed rtp_inward_relayed) - $(figure before-kill.scrape media_rtp_xdp)))
    require "packets relayed in the driver for the next one" "$(figure after.scrape media_rtp_xdp)" -gt $((rest / 2))
    grep -q "took_over=true" moorline.log || fault "nothing was taken over: $(grep -m1 took_over moorline.log)"
fi
stop_moorline
