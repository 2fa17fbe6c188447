# linphonec without a sound card sends no RTP: the call lives as long as the other side speaks, and is ended on
# both legs when nobody has spoken for the media timeout.

write_config
add_trunk phone 7 "$carrier_ip:5090"
cat >>moorline.toml <<TOML

[signaling.limits]
media_timeout_s = 4
TOML
make_speech 5
start_moorline
start_linphone "$carrier_ip" 5090

start_phone_captures
start_callers 1 1 5400 7000
await_callers callers "$callers_pid" 1
stop_captures
verify_media --outward 250 --inward 0
phone_packets=$(figure captures.figures rtp_outward_relayed)

make_speech 1
start_phone_captures
start_hung_up_callers 1 1 7000
await_callers hung-up "$hung_up_pid" 1
stop_captures
verify_media --outward 50 --inward 0
phone_packets=$((phone_packets + $(figure captures.figures rtp_outward_relayed)))
for side in core carrier; do
    ends=$(requests "$side" BYE)
    require "BYEs by Moorline in $side" "$ends" -eq 1
done
end_phone_test --transactions
