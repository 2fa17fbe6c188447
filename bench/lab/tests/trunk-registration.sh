# Moorline registers with a carrier that asks for credentials: two accounts, one of which must have a new Call-ID for each
# REGISTER. Both are kept up; calls to the carrier are asked for credentials too, and its calls come by the registration.

# add_account NAME NUMBERS USER LISTENER NEW_CALL_ID
add_account() {
    add_trunk "$1" "$2" "$carrier_proxy_ip:5060" "$4"
    cat >>moorline.toml <<TOML

[signaling.trunks.credentials]
user = "$3"
password = "secret"
user_with_domain = true

[signaling.trunks.registration]
user = "$3"
domain = "gd.ctcims.cn"
new_call_id = $5
TOML
}

# registers USER: the REGISTERs of that user that show credentials, as "CALL-ID CSEQ NONCE-COUNT".
registers() {
    tcpdump -n -r registrar.pcap -A "udp dst port 5060" 2>/dev/null | tr -d '\r' | awk -v user="\"$1@gd.ctcims.cn\"" '
        /^Call-ID: / { id = $2 }
        /^CSeq: / { cseq = $2; registers = $3 == "REGISTER" }
        /^Authorization: / && index($0, user) { match($0, /nc=[0-9a-f]+/); count = substr($0, RSTART + 3, RLENGTH - 3) }
        /^Content-Length: / { if (registers && count) print id, cseq, count; count = "" }'
}

is_registered() {
    look registered
    [[ $(figure registered.scrape registered) -eq 2 ]]
}

have_refreshed() {
    local account
    for account in 1 2; do
        (($(registers "+861234567$account" | wc -l) >= 3)) || return
    done
}

write_config
add_account one 71 +8612345671 carrier false
cat >>moorline.toml <<TOML

[[signaling.listeners]]
name = "carrier-2"
bind = "$sbc_carrier_ip:5070"
TOML
add_account two 72 +8612345672 carrier-2 true
add_trunk inside +86 "$core_ip:5090" core
make_speech 2
captures=()
start_capture registrar carrier sbc -U host "$carrier_proxy_ip"
registering=("${captures[@]}")
start_registrar
start_moorline
await "the registrations" is_registered

start_captures
start_called_party
pids=()
for account in 1 2; do
    start_caller "outward-$account" core "$core_ip" "508$account" "$sbc_core_ip:5060" "7${account}00" 2400
    pids+=("$started")
done
await_callers outward-1 "${pids[0]}" 1
await_callers outward-2 "${pids[1]}" 1
stop_called_party 2
stop_captures
verify_captures --calls 2
carried=$(figure captures.figures rtp_outward_relayed rtp_inward_relayed)

start_captures
start_answerer inside core "$core_ip" 5090
inside=$started
pids=()
for account in 1 2; do
    start_caller "inward-$account" carrier "$carrier_ip" "508$account" "$carrier_proxy_ip:5060" "+861234567$account" 2400
    pids+=("$started")
done
await_callers inward-1 "${pids[0]}" 1
await_callers inward-2 "${pids[1]}" 1
stop_answerer inside "$inside" 2
stop_captures
for way in src dst; do
    require "RTP packets of the carrier's calls" "$(packets carrier "net $media_range and $way host $carrier_ip")" -eq 200
done
await_idle
require "RTP packets carried by $datapath" "$(figure after.scrape "media_rtp_$datapath")" -eq $((carried + 400))
# Each is granted 4 s.
await "the refreshed registrations" have_refreshed
captures=("${registering[@]}")
stop_captures

for account in 1 2; do
    registers "+861234567$account" >"registers-$account"
    require "REGISTERs of account $account" "$(wc -l <"registers-$account")" -ge 3
    require "REGISTERs of account $account with new nonces" "$(grep -c " 00000001$" "registers-$account")" -eq 1
done
require "Call-IDs of account 1" "$(cut -d ' ' -f 1 registers-1 | sort -u | wc -l)" -eq 1
sort -c -u -n -k 2,2 registers-1 2>>sort.log || fault "the CSeqs of account 1 do not rise: $(cut -d ' ' -f 2 registers-1 | tr '\n' ' ')"
require "Call-IDs of account 2" "$(cut -d ' ' -f 1 registers-2 | sort -u | wc -l)" -eq "$(wc -l <registers-2)"
require "REGISTERs refused for their Call-ID" "$(tcpdump -n -r registrar.pcap -A 2>/dev/null | grep -c "P-Registrar-Error" || true)" -eq 0
summary "$(cat registers-1 registers-2 | wc -l) REGISTERs for 2 accounts, each granted 4 s"
stop_moorline
