# What the tests are made of: Moorline, SIPp and captures in the lab's namespaces. Every function works in
# the test's directory, and notes what is wrong with `fault`.

# Notes a fault; the test goes on.
fault() {
    echo "$*" >>faults
}

# A line for the report.
summary() {
    echo "$*" >>summary
}

# require WHAT LEFT OPERATOR RIGHT: notes a fault unless the numbers compare so.
require() {
    local what=$1 left=${2:-nothing} operator=$3 right=${4:-nothing}
    if [[ ! $left =~ ^-?[0-9]+$ || ! $right =~ ^-?[0-9]+$ ]] || ! test "$left" "$operator" "$right"; then
        fault "$what: $left, required: $operator $right"
    fi
}

# start NAME NAMESPACE COMMAND...: runs a command in the background with its output in NAME.log; its
# process ID is in $started.
start() {
    local name=$1 namespace=$2
    shift 2
    # In the place of this shell's child, so that signals reach the command.
    exec_in_ns "$namespace" "$@" >"$name.log" 2>&1 &
    started=$!
}

exec_in_ns() {
    exec nsenter --net="/run/netns/$1" -- "${@:2}"
}

# The value of KEY in a file of key=value lines; of a sum of keys if there are several.
figure() {
    local file=$1 key sum=0 value
    shift
    for key in "$@"; do
        value=$(sed -n "s/^$key=//p" "$file" | tail -n 1)
        sum=$((sum + ${value:-0}))
    done
    echo "$sum"
}

# at IP PORT: both as they are written in one.
at() {
    [[ $1 == *:* ]] && echo "[$1]:$2" || echo "$1:$2"
}

# host IP: the network of that address alone.
host() {
    [[ $1 == *:* ]] && echo "$1/128" || echo "$1/32"
}

# What tells routers how to treat media towards each side.
core_dscp=46
carrier_dscp=34

# write_config [SETTING=VALUE...]: moorline.toml for the lab. Settings: core_ports, carrier_ports
# ("FIRST LAST"), carrier_network, cores, busy_poll_us, capacity.
write_config() {
    local core_ports="16384 32767" carrier_ports="16384 32767" carrier_network=$media_range cores="" busy_poll_us=0 \
        capacity=4000 setting
    for setting in "$@"; do
        local "${setting%%=*}"="${setting#*=}"
    done
    cat >moorline.toml <<TOML
[signaling]
# Any user but root will do here.
user = "nobody"
control = "/run/moorline/media.sock"
lease_s = 60

[[signaling.listeners]]
name = "core"
bind = "$(at "$sbc_core_ip" 5060)"

[[signaling.listeners]]
name = "carrier"
bind = "$(at "$sbc_carrier_ip" 5060)"

[[signaling.trunks]]
name = "customers"
listener = "core"
sources = ["$core_network"]
media_range = "core"
media_nat = "off"

[[signaling.trunks]]
name = "carrier"
listener = "carrier"
targets = ["$(at "$carrier_ip" 5060)"]
media_range = "carrier"
media_sources = ["$(host "$carrier_ip")"]
media_nat = "off"

[[signaling.routes]]
from = "customers"
to = "carrier"

[media]
control = "/run/moorline/media.sock"
control_users = ["nobody"]
datapath = "$datapath"
sockets = "$sockets"
offload = $offload
cores = [$cores]
busy_poll_us = $busy_poll_us
capacity = $capacity

[media.xdp]
interfaces = ["core", "carrier"]

[[media.ranges]]
name = "core"
network = "$(host "$sbc_core_ip")"
first_port = ${core_ports% *}
last_port = ${core_ports#* }
routed = true
dscp = $core_dscp

[[media.ranges]]
name = "carrier"
network = "$carrier_network"
first_port = ${carrier_ports% *}
last_port = ${carrier_ports#* }
routed = true
dscp = $carrier_dscp
TOML
}

# add_trunk NAME NUMBERS TARGET [LISTENER]: another trunk on a listener's side, the carrier's if none is named, to which
# numbers go that begin so.
add_trunk() {
    local name=$1 numbers=$2 target=$3 listener=${4:-carrier}
    cat >>moorline.toml <<TOML

[[signaling.trunks]]
name = "$name"
listener = "$listener"
targets = ["$target"]
media_range = "${listener%%-*}"
media_nat = "off"

[[signaling.routes]]
prefix = "$numbers"
to = "$name"
TOML
}

start_moorline() {
    [[ -f moorline.toml ]] || write_config
    local side
    if [[ $offload == true || $datapath == af_xdp ]]; then
        # What an XDP program sends into a veth is received by NAPI only. With AF_XDP it sends what comes by a queue of
        # another shard.
        for side in core carrier; do
            in_ns "$side" ethtool -K sbc gro on
        done
    fi
    # Each has a BPF file system of its own, for what outlives the media process, and sees its links in /sys.
    # shellcheck disable=SC2016
    ip netns exec sbc bash -c 'mount -t bpf bpf /sys/fs/bpf; exec "$@"' bash "$MOORLINE" up --config moorline.toml \
        >moorline.log 2>&1 &
    moorline_pid=$!
    await_ready before
}

# How long what must come may take, on however busy a machine: nothing is judged by it, and who waits longer waits in vain.
patience_s=180

# await_ready NAME: until both processes answer, and signaling has media's connection; the figures are in NAME.scrape.
await_ready() {
    local end=$((SECONDS + patience_s))
    until in_ns sbc "$MOORLINE_BENCH" scrape --until-ready 1 >"$1.scrape"; do
        if ((SECONDS > end)) || ! kill -0 "$moorline_pid"; then
            fault "moorline is not ready: $(tail -n 3 moorline.log | tr '\n' ' ')"
            return 1
        fi
    done
}

# Stops Moorline as systemd would; nothing of it may be left.
stop_moorline() {
    local children
    children=$(pgrep -P "$moorline_pid" -d ' ' || true)
    kill -TERM "$moorline_pid"
    wait "$moorline_pid" || fault "moorline ended with status $?"
    local child
    for child in $children; do
        [[ ! -d /proc/$child ]] || fault "process $child outlived moorline"
    done
    # With the process if it was not pinned, else with its BPF file system, which the kernel takes away behind it.
    await "the end of the XDP programs" bash -c '! ip -n sbc link show | grep -q xdp'
    if grep -q "panicked at" moorline.log; then
        fault "a panic: $(grep -m1 -A1 "panicked at" moorline.log | tr '\n' ' ')"
    fi
}

# The process ID of one of the two processes, by its role.
child_of_moorline() {
    pgrep -P "$moorline_pid" -f " $1 "
}

# follows ROLE VICTIM: whether another process has its role.
follows() {
    local present
    present=$(child_of_moorline "$1") && [[ $present != "$2" ]]
}

# What Moorline counts now, in NAME.scrape.
look() {
    in_ns sbc "$MOORLINE_BENCH" scrape >"$1.scrape"
}

# Waits until no call, session or port is in use, and leaves the figures in after.scrape. With --transactions it waits
# for those too, which run out 32 s after the last message (RFC 3261, timers D, J and L): others may have the machine meanwhile.
await_idle() {
    [[ " $* " != *" --transactions "* ]] || : >quiet
    in_ns sbc "$MOORLINE_BENCH" scrape --until-idle "$((patience_s + 40))" "$@" >after.scrape ||
        fault "still in use: $(grep -E '^(calls_active|transactions_active|media_sessions|media_ports_in_use)=' after.scrape | tr '\n' ' ')"
}

# await WHAT COMMAND...: until the command succeeds.
await() {
    local what=$1 end=$((SECONDS + patience_s))
    shift
    while ((SECONDS <= end)); do
        if "$@"; then
            return
        fi
        sleep 0.05
    done
    fault "$what did not come within $patience_s s"
    return 1
}

# counts LEAST KEY...: whether Moorline's figures come to that sum now. They are in now.scrape.
counts() {
    look now
    (($(figure now.scrape "${@:2}") >= $1))
}

# await_calls_up CALLS: until so many callers have their answer since signaling was started. An answer goes on when the
# media process has the call written down, so that from here on a restart takes the calls back.
await_calls_up() {
    await "an answer to each of $1 calls" counts "$1" sip_answers_passed
}

# await_media PACKETS: until so many of RTP were relayed since the media process was started.
await_media() {
    await "$1 RTP packets" counts "$1" "media_rtp_$datapath" media_rtp_xdp
}

make_speech() {
    "$MOORLINE_BENCH" speech --seconds "$1" --from-hz 300 speech.alaw
    "$MOORLINE_BENCH" speech --seconds "$1" --from-hz 450 speech-hung-up.alaw
}

# start_sipp NAME NAMESPACE IP PORT OPTION...: before Moorline where cores are scarce, for what it sends late, behind its BYE,
# is lost. The scenarios send again after 2 s: sooner, a busy machine alone would have them do so.
start_sipp() {
    local name=$1 namespace=$2 ip=$3 port=$4 control=$3
    shift 4
    # It speaks IPv4 only.
    [[ $ip != *:* ]] || control=127.0.0.1
    # -ci: without it the control socket is bound on all addresses.
    start "sipp-$name" "$namespace" nice -n "${PRIORITY:--10}" sipp -i "$ip" -p "$port" -mi "$ip" -ci "$control" -nostdin -buff_size 8388608 \
        -cid_str '%u.%p' -trace_err -error_file "sipp-$name.errors" -trace_stat -stf "sipp-$name.csv" -fd 1 \
        -timeout 600 "$@"
}

# Datagrams of a namespace for which a socket had no room: the receiver's loss, not Moorline's.
overflows() {
    in_ns "$1" awk '$1 == "Udp:" { if (!names) { names = split($0, name) } else { split($0, value) } }
        END { for (i = 1; i <= names; i++) if (name[i] == "RcvbufErrors") print value[i] }' /proc/net/snmp
}

# SIPp's name of a transport: one connection for all calls, over TCP.
sipp_transport() {
    case $1 in
        udp) echo u1 ;;
        tcp) echo t1 ;;
    esac
}

# The called party, which speaks CARRIER_TRANSPORT or UDP. Calls that it is to end end after so many milliseconds.
start_called_party() {
    start_answerer called carrier "$carrier_ip" 5060 -d "${1:-0}" -t "$(sipp_transport "${CARRIER_TRANSPORT:-udp}")"
    called_pid=$started
}

# start_answerer NAME NAMESPACE IP PORT OPTION...: answers calls and echoes their RTP.
start_answerer() {
    # SIPp echoes from one socket, whose buffer it leaves at 17 ms of 110 calls: it must not wait for a core.
    PRIORITY=-15 start_sipp "$1" "$2" "$3" "$4" -sf "$lab_dir/scenarios/uas.xml" -mp 20000 -rtp_echo "${@:5}"
    await "SIPp ($1)" grep -qs . "sipp-$1.csv"
}

# hold_calls WORD [LOOPS]: with "held", calls by the scenarios of this lab last until let_calls_end, however short they were
# told to be, and those that begin afterwards speak until then, or so many times; with "over" they last as they were told.
hold_calls() {
    # SIPp reads it whole, at any moment.
    printf %s "$1" >talk.next
    mv talk.next talk
    call_loops=${2:-1}
    [[ $1$# != held1 ]] || call_loops=-1
}

# Has calls that were held end: when all are silent, so that no packet is under way at a BYE.
let_calls_end() {
    hold_calls silent
    await "silence" media_is_still
    hold_calls over
}

# Whether no RTP was relayed for a while.
media_is_still() {
    local before
    look now
    before=$(figure now.scrape "media_rtp_$datapath" media_rtp_xdp)
    sleep 1
    look now
    (($(figure now.scrape "media_rtp_$datapath" media_rtp_xdp) == before))
}

# spoken SCENARIO: that one, in which the callers speak as long as hold_calls has said.
spoken() {
    local name
    name=$(basename "$1" .xml)$call_loops.xml
    sed "s/\.alaw,1,8/.alaw,$call_loops,8/" "$1" >"$name.next"
    # Another SIPp may be reading the last one.
    mv "$name.next" "$name"
    echo "$name"
}

# start_callers CALLS RATE TALK_MS [NUMBER]: calls that the caller ends, over CORE_TRANSPORT or UDP.
start_callers() {
    start_caller callers core "$core_ip" 5060 "$(at "$sbc_core_ip" 5060)" "${4:-8610086}" "$3" -m "$1" -r "$2" -l 1000 \
        -t "$(sipp_transport "${CORE_TRANSPORT:-udp}")"
    callers_pid=$started
}

# start_caller NAME NAMESPACE IP PORT SERVER NUMBER TALK_MS OPTION...: a call, or as many as -m says.
start_caller() {
    start_sipp "$1" "$2" "$3" "$4" "$5" -sf "$(spoken "$lab_dir/scenarios/uac.xml")" -s "$6" -d "$7" -m 1 \
        -key caller "${caller:-01000000}" -key call_header "${call_header:-X-Call}" "${@:8}"
}

# start_hung_up_callers CALLS RATE [NUMBER]: calls that the called party ends.
start_hung_up_callers() {
    start_sipp hung-up core "$core_ip" 5070 "$(at "$sbc_core_ip" 5060)" -sf "$(spoken "$lab_dir/scenarios/uac-hung-up.xml")" \
        -s "${3:-8610086}" -m "$1" -r "$2" -l 1000
    hung_up_pid=$started
}

# await_callers NAME PID CALLS: until SIPp ends; it must have had that many good calls, and sent nothing twice.
await_callers() {
    local name=$1 pid=$2 calls=$3 status=0
    wait "$pid" || status=$?
    require "status of SIPp ($name)" "$status" -eq 0
    verify_sipp "$name" "$calls"
}

# Ends the called party and looks at its statistics.
stop_called_party() {
    stop_answerer called "$called_pid" "$1"
}

# stop_answerer NAME PID CALLS
stop_answerer() {
    kill -USR1 "$2"
    wait "$2" || true
    verify_sipp "$1" "$3"
}

verify_sipp() {
    local name=$1 calls=$2
    require "good calls by SIPp ($name)" "$(sipp_statistic "$name" 'SuccessfulCall(C)')" -eq "$calls"
    require "bad calls by SIPp ($name)" "$(sipp_statistic "$name" 'FailedCall(C)')" -eq 0
    require "retransmissions by SIPp ($name)" "$(sipp_statistic "$name" 'Retransmissions(C)')" -eq 0
    # That it waited for a core is no fault of anybody's.
    grep -v -e "^The following events occurred" -e "Overload warning: the minor watchdog" "sipp-$name.errors" \
        >"sipp-$name.said" 2>/dev/null || true
    [[ ! -s sipp-$name.said ]] || fault "SIPp ($name) says: $(head -n 3 "sipp-$name.said" | tr '\n' ' ')"
}

# A cumulative figure of SIPp's, by the name of its column.
sipp_statistic() {
    awk -F';' -v name="$2" 'NR == 1 { for (i = 1; i <= NF; i++) if ($i == name) column = i } END { print $column }' \
        "sipp-$1.csv"
}
