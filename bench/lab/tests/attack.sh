# Forged media while calls are up: from a stranger, from a neighbour of the called party behind the same address, and
# with the called party's own address and port; proper RTP and RTCP, and garbage. Not one forged packet comes out,
# all of them are counted, and the calls lose no more than without the attack.

# What a busy machine of two cores may lose besides: it is a bound for gross harm, the packets refused are the proof.
margin_ppm=20000

start_moorline
start_calls control 3 1
end_calls control
await_idle

watch_forged
note_flows
start_calls attacked "$((4 + 7 * attack_seconds + 6))" 2
take_flows
attack stranger --source stranger --from "$stranger" --flows flows
attack neighbour --source neighbour --flows flows
attack party --source party --flows flows
attack stream --source party --content stream --flows flows
attack rtcp-neighbour --source neighbour --content rtcp --flows flows
attack rtcp-party --source party --content rtcp --flows flows
attack garbage --source party --content garbage --flows flows
end_calls attacked
verify_watch
unwatch
require "calls' loss in a million" "$(lost_ppm attacked)" -le "$(($(lost_ppm control) + margin_ppm))"
require "strangers refused as such" "$(refused_for stranger source_network)" -gt 0
require "neighbours refused as such" "$(refused_for neighbour source)" -gt 0
for name in party stream rtcp-party; do
    require "forged sources refused as such ($name)" "$(refused_for "$name" ssrc)" -gt 0
done
summary "$attack_calls calls lost $(figure attacked.log rtp_lost) of $(figure attacked.log rtp_sent) packets;" \
    "without the attack $(figure control.log rtp_lost) of $(figure control.log rtp_sent)"
await_idle
stop_moorline
