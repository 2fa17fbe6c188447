# Ports for 10 calls, 15 calls at once: 5 are refused with 503 and Retry-After, the others do not notice.

write_config carrier_network=47.103.169.70/32 "carrier_ports=16384 16403" cores=0
make_speech 5
start_moorline
start_captures
start_called_party
start_callers 15 20 5400
await_callers callers "$callers_pid" 15
stop_captures
stop_called_party 10
verify_captures --calls 10 --refused 5
await_idle
verify_datapath
verify_no_drops
summary "$(figure captures.figures calls_refused_retry_after) calls refused with 503 and Retry-After"
stop_moorline
