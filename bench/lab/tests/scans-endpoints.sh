# sipvicious where telephones register and anybody may ask: users who exist are answered like those who do not, no
# password is found out, and nothing is kept of it.

needs svwar sipvicious
write_config
# svcrack knows nothing but MD5.
add_telephones 'algorithms="md5"'
export HOME=$PWD
start_moorline
start_captures -U

# start_scan NAME PORT COMMAND...: a scanner at that port in the core. Whatever it finds is in scan-NAME.log.
start_scan() {
    start "scan-$1" core "$3" -p 5062 -P "$2" "${@:4}" "$sbc_core_ip"
    scans+=("$started")
}

# Whether each of them was answered, which the files of the captures say a little later.
all_answered() {
    local port
    for port in 5070 5071 5072 5073; do
        [[ -n $(answers "$port") ]] || return
    done
    # To a first question, and to a password.
    [[ $(answers 5074) == *" "*" " && $(answers 5075) == *" "*" " ]] || return
    (($(asked_about_6000 5071) && $(asked_about_6000 5072) && $(asked_about_6000 5073)))
}

# asked_about_6000 PORT: how often that scanner asked for the user who exists, and was answered.
asked_about_6000() {
    tcpdump -n -r core.pcap -A "udp and dst port $1" 2>/dev/null | grep -ac '^To: .*sip:6000@' || true
}

# answers PORT: the statuses that were sent to the scanner at that port.
answers() {
    tcpdump -n -r core.pcap -A "udp and src host $sbc_core_ip and dst port $1" 2>/dev/null |
        grep -ao "SIP/2.0 [1-6][0-9][0-9]" | sort -u | cut -d ' ' -f 2 | tr '\n' ' '
}

# svwar asks for a user whom nobody can have before 6000, and stops where both are answered alike; svcrack goes on.
start_scan svmap 5070 svmap
start_scan svwar-INVITE 5071 svwar --force -e 6000-6010 -m INVITE
start_scan svwar-REGISTER 5072 svwar --force -e 6000-6010 -m REGISTER
start_scan svwar-OPTIONS 5073 svwar --force -e 6000-6010 -m OPTIONS
start_scan svcrack-user 5074 svcrack -u 6000 -r 1220-1230
start_scan svcrack-nobody 5075 svcrack -u 6666 -r 1220-1230
await "challenges" counts 20 sip_challenges
await "wrong passwords" counts 10 sip_wrong_credentials
await "an answer to each scanner" all_answered
kill -KILL "${scans[@]}" 2>/dev/null || true
wait "${scans[@]}" || true
look scanned
stop_captures

while IFS=: read -r port what expected; do
    [[ $(answers "$port") == "$expected " ]] || fault "$what was answered $(answers "$port"), not $expected"
done <<TEXT
5070:svmap:407
5071:svwar with INVITE:407
5072:svwar with REGISTER:401
5073:svwar with OPTIONS:407
5074:svcrack for a user:401 403
5075:svcrack for nobody:401 403
TEXT
for method in INVITE REGISTER OPTIONS; do
    if grep -q "extension '" "scan-svwar-$method.log"; then
        fault "svwar tells users apart by $method"
    fi
done
for port in 5071 5072 5073; do
    require "answers about 6000 at port $port" "$(asked_about_6000 "$port")" -ge 1
done
if grep -q Password scan-svcrack-*.log; then
    fault "svcrack found a password"
fi
require "passwords tried" "$(figure scanned.scrape sip_wrong_credentials)" -ge 10
require "challenges" "$(figure scanned.scrape sip_challenges)" -ge 20
for key in transactions_active bindings sip_calls; do
    require "$key after the scans" "$(figure scanned.scrape $key)" -eq 0
done
require "packets that passed to the carrier" "$(packets carrier udp)" -eq 0
summary "$(figure scanned.scrape sip_challenges) challenges, $(figure scanned.scrape sip_wrong_credentials) wrong passwords," \
    "nothing kept of them"
stop_moorline
