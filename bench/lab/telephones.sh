# Telephones in the core that register: the trunk that they belong to, and SIPp in their place. 6000 has the password
# 1234, 6001 has 4321 and may have two devices, 6002 has 5678.

# Where they register.
registrar="$sbc_core_ip:5062"

# The directory of what outlives signaling.
state=/run/lab-state

# add_telephones [SETTING=VALUE...]: a listener and a trunk for them. Settings: transports and algorithms (lists as in the
# configuration), media ("bypass" or "anchor"), users ("file" or "radius"), keep_alive_s (SIPp takes no OPTIONS), nat
# (as media_nat), and for a second trunk name and port.
add_telephones() {
    local transports='"udp", "tcp"' algorithms="" media=bypass users=file keep_alive_s=0 nat=off setting tls=""
    local name=telephones port=${registrar#*:}
    for setting in "$@"; do
        local "${setting%%=*}"="${setting#*=}"
    done
    [[ $transports != *tls* ]] || tls="[signaling.listeners.tls]
certificate = \"$tls_files/moorline-core.pem\"
key = \"$tls_files/moorline-core.key\"
ca = \"$tls_files/ca.pem\""
    cat >>moorline.toml <<TOML

[[signaling.listeners]]
name = "core-$name"
bind = "$sbc_core_ip:$port"
transports = [$transports]

$tls

[[signaling.trunks]]
name = "$name"
listener = "core-$name"
sources = ["192.0.2.0/24"]
media_range = "core"
media_nat = "$nat"

[signaling.trunks.authentication]
realm = "phones.example"
algorithms = [$algorithms]
$([[ $users == file ]] && echo "users_file = \"$PWD/users.toml\"" || echo "radius = true")

[signaling.trunks.registrar]
media = "$media"
keep_alive_s = $keep_alive_s

[[signaling.routes]]
from = "$name"
to = "carrier"
TOML
    if ! grep -q "^state = " moorline.toml; then
        # Where the user that Moorline becomes may write.
        rm -rf "$state"
        install -d -m 0700 -o nobody "$state"
        sed -i "s|^\[signaling\]$|&\nstate = \"$state\"|" moorline.toml
    fi
    if [[ $users == radius ]]; then
        # The same user reads it.
        install -m 0400 -o nobody <(echo "a secret of the lab") "$state/radius"
        printf '\n[signaling.radius]\nservers = ["127.0.0.1:1812"]\nsecret_file = "%s"\n' "$state/radius" >>moorline.toml
    fi
    (umask 077 && cat >users.toml) <<TOML
[[users]]
name = "6000"
password = "1234"

[[users]]
name = "6001"
password = "4321"
max_contacts = 2

[[users]]
name = "6002"
password = "5678"
TOML
}

password_of() {
    case $1 in
        6000) echo 1234 ;;
        6001) echo 4321 ;;
        6002) echo 5678 ;;
    esac
}

# start_register NAME USER PASSWORD IP PORT [STATUS [CONTACT]]: SIPp registers, and shall get that status, or 200. The
# contact is where it registers from if none is named.
start_register() {
    local name=$1 user=$2 password=$3 ip=$4 port=$5 status=${6:-200}
    # One of its own: another SIPp may be reading the last one.
    sed "s/STATUS/$status/" "$lab_dir/scenarios/register.xml" >"$name.xml"
    start_sipp "$name" core "$ip" "$port" "$registrar" -sf "$name.xml" -m 1 -au "$user" -ap "$password" \
        -key user "$user" -key contact "${7:-$ip:$port}"
}

# start_telephone_call NAME USER IP PORT NUMBER TALK_MS: a registered user calls, by SIPp.
start_telephone_call() {
    caller=$2 start_caller "$1" core "$3" "$4" "$registrar" "$5" "$6" -au "$2" -ap "$(password_of "$2")"
}

# register_pjsua NAME USER TRANSPORT PORT OPTION...: a registered user's pjsua, in namespace $home or the core.
register_pjsua() {
    local transport=$3 server="sip:$registrar"
    [[ $transport == udp ]] || server="$server;transport=$transport"
    start_pjsua "$1" "${home:-core}" --user "$2" --password "$(password_of "$2")" --registrar "$server" --port "$4" "${@:5}"
}

# Whether that many devices are registered.
has_bindings() {
    look registered
    [[ $(figure registered.scrape bindings) -eq $1 ]]
}

# heard_keep_alives COUNT: whether so many were sent and answered by now, as keep-alives.log has them from a capture.
# Questions and answers have the line.
heard_keep_alives() {
    (($(grep -c '^CSeq: 1 OPTIONS' keep-alives.log || true) >= 2 * $1))
}
