# 200 calls, 20 a second, 5 s of speech each, echoed: nothing lost, changed, crossed or left behind.

calls=200
make_speech 5
overflowed=$(overflows carrier)
start_moorline
start_captures
start_called_party
start_callers "$calls" 20 5400
await_callers callers "$callers_pid" "$calls"
stop_captures
stop_called_party "$calls"
verify_captures --calls "$calls"
# Each caller's file is 250 packets.
require "RTP packets sent by callers" "$(figure captures.figures rtp_outward_sent)" -eq $((calls * 250))
overflowed=$(($(overflows carrier) - overflowed))
((overflowed == 0)) || summary "SIPp itself missed $overflowed packets, which it did not echo"
require "RTP packets sent back" "$(figure captures.figures rtp_inward_sent)" -ge $((calls * 250 - overflowed - $(may_be_lost)))
await_idle --transactions
verify_datapath
verify_no_drops
require "SIP messages sent again by Moorline" "$(figure after.scrape sip_retransmissions)" -le "$(may_be_sent_again --calls "$calls")"
stop_moorline
