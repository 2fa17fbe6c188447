# pjsua calls pjsua and sends it on to SIPp with REFER: the transferor hears of it by NOTIFY, and is let go.

transport=udp
phone_config 5080
cat >>moorline.toml <<TOML

[[signaling.routes]]
from = "phone"
to = "carrier"
TOML
make_voice 10
start_moorline
start_captures
start_called_party
start_pjsua 7000 carrier
answerer=$started
start_pjsua 2000 core --call "sip:7000@$moorline" --transfer "<sip:8610086@$sbc_core_ip:5060>" --seconds 3
await_pjsua 2000 "$started"
await_pjsua 7000 "$answerer"
require "what the transferor was told" "$(figure pjsua-2000.log transfer_status)" -eq 200
stop_called_party 1
stop_captures
await_idle --transactions
require "calls answered" "$(figure after.scrape sip_answered)" -eq 2
stop_moorline
