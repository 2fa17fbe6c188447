# Moorline registers with SIPp as a registrar with habits, by the preset for it: the account that does as the registrar wants
# stays registered; the one that keeps its Call-ID is refused with 400 when it refreshes, the one that shows a user name
# without the domain with 403, and the operator is told of both.

# add_account NAME PORT LINE...: +86123456PORT.
add_account() {
    cat >>moorline.toml <<TOML

[[signaling.trunks]]
name = "$1"
listener = "carrier"
media_range = "carrier"
preset = "china-telecom-ims"
domain = "gd.ctcims.cn"
targets = ["$carrier_proxy_ip:$2"]
credentials.user = "+86123456$2"
credentials.password = "secret"
registration.user = "+86123456$2"
$(printf '%s\n' "${@:3}")
TOML
    sed "s/USER/+86123456$2/; s/DOMAIN/gd.ctcims.cn/g" "$lab_dir/scenarios/registrar-b.xml" >"$1.xml"
    start_sipp "$1" carrier "$carrier_proxy_ip" "$2" -sf "$1.xml" -trace_msg -message_file "$1.messages"
    await "SIPp ($1)" grep -qs . "sipp-$1.csv"
}

# granted NAME: the Call-IDs of the REGISTERs that were granted to that account.
granted() {
    tr -d '\r' <"$1.messages" | awk '/^SIP\/2\.0 / { code = $2 } /^REGISTER / { code = "" }
        /^Call-ID: / { if (code == 200) print $2; code = "" }'
}

# said NAME STATUS: the log says so of a trunk.
said() {
    grep -q "not registered: will try again.*trunk=\"*$1\"* status=${2:-}" moorline.log
}

has_refreshed() {
    [[ $(granted dutiful | sort -u | wc -l) -ge 3 ]]
}

write_config
add_account dutiful 5061 "registration.new_call_id = true"
add_account steady 5062
add_account nameless 5063 "credentials.user_with_domain = false"
start_moorline
await "a refusal of the user name without its domain" said nameless 403
await "a refusal of the Call-ID that was there before" said steady 400
await "the second refresh" has_refreshed
look registered
! said dutiful || fault "the account that does as it should was refused: $(grep -m1 "trunk=\"*dutiful" moorline.log)"
granted dutiful >granted
require "Call-IDs of as many REGISTERs" "$(sort -u granted | wc -l)" -eq "$(wc -l <granted)"
require "REGISTERs granted to the wrong user name" "$(granted nameless | wc -l)" -eq 0
require "accounts that are registered" "$(figure registered.scrape registered)" -ge 1
summary "$(wc -l <granted) REGISTERs were granted, each with a Call-ID of its own"
stop_moorline
