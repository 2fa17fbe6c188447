# All at one port: the calls at other ports do not notice.

# What a busy machine of two cores may lose anyhow.
margin_ppm=20000

start_moorline
watch_forged
note_flows
start_calls flooded "$((4 + 3 * attack_seconds + 3))" 1
take_flows
attack flood-stranger --source stranger --from "$stranger" --flows flows --only 1
attack flood-party --source party --flows flows --only 1
attack flood-garbage --source party --content garbage --flows flows --only 1
end_calls flooded
verify_watch
unwatch
# The call at the flooded port may lose what its party sends in that time: 50 packets a second.
spared=$((50 * 3 * (attack_seconds + 1)))
lost=$(figure flooded.log rtp_lost)
lost_elsewhere=$((lost > spared ? lost - spared : 0))
require "packets lost at ports that were not flooded" "$lost_elsewhere" -le \
    "$(($(figure flooded.log rtp_sent) * margin_ppm / 1000000))"
summary "$attack_calls calls lost $lost of $(figure flooded.log rtp_sent) packets"
await_idle
stop_moorline
