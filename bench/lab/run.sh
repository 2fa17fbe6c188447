# Runs the lab's tests, several at once: each in a lab of its own, with a directory for its logs, and an end by a verdict.

# NAME, NAME@DATAPATH or NAME@DATAPATH-SOCKETS, with `+offload` where the network driver relays as well. Where SOCKETS is
# not said, Moorline chooses: shared ones for io_uring, because tests run as root.
all_tests=(
    no-way-out
    taken-away
    sipp-calls@io_uring
    sipp-calls@af_xdp
    sipp-calls@io_uring+offload
    generator-calls@io_uring
    generator-calls@epoll
    moorline-load@io_uring
    ipv6-bridge@io_uring
    ipv6-calls@io_uring+offload
    kill-signaling@io_uring
    kill-media@io_uring
    kill-media@io_uring-per_port
    kill-media@af_xdp
    kill-media@io_uring+offload
    path-changes@af_xdp
    path-changes@io_uring
    firewall@io_uring
    path-changes@io_uring+offload
    queues@af_xdp
    queues@io_uring+offload
    no-free-port@io_uring
    garbage@io_uring
    garbage@epoll
    attack@io_uring
    attack@epoll
    attack-flood@io_uring
    attack-flood@epoll
    sipp-tcp@io_uring
    baresip-udp@io_uring
    baresip-tcp@io_uring
    baresip-tls@io_uring
    pjsua-udp@epoll
    pjsua-tls@io_uring
    pjsua-extensions@io_uring
    pjsua-transfer@io_uring
    silent-peer@io_uring
    announcement@io_uring
    announcement@af_xdp
    carrier-edge@io_uring
    carrier-customer@io_uring
    carrier-trunks@io_uring
    carrier-registrar@io_uring
    kamailio-udp@io_uring
    kamailio-tcp@io_uring
    endpoints-sipp@io_uring
    endpoints-pjsua@io_uring
    endpoints-baresip@epoll
    endpoints-nat@io_uring
    endpoints-transfer@io_uring
    endpoints-attended@io_uring
    trunk-registration@io_uring
    radius@io_uring
    records@io_uring
    scans@io_uring
    scans-endpoints@io_uring
)

# What those leave out: run where they are named.
other_tests=(
    announcement@epoll
    announcement@io_uring-per_port
    sipp-calls@epoll
    sipp-calls@io_uring-per_port
    sipp-calls@af_xdp+offload
    generator-calls@af_xdp
    generator-calls@io_uring+offload
    ipv6-bridge@epoll
    ipv6-calls@af_xdp
    kill-signaling@io_uring+offload
    kill-media@epoll
    path-changes@af_xdp+offload
    attack@af_xdp
    attack@io_uring+offload
    attack-flood@io_uring-per_port
    garbage@af_xdp
)

test_names() {
    printf '%s\n' "${all_tests[@]}"
}

list_tests() {
    test_names
    printf '%s (if named)\n' "${other_tests[@]}"
}

# The tests that the arguments name, `sipp-calls` meaning all of its datapaths, and `sipp-calls@DATAPATH` any of them,
# be it in the list or not; without arguments, all.
selected_tests() {
    local name test
    if (($# == 0)); then
        test_names
        return
    fi
    for name in "$@"; do
        if [[ $name == *@* && -f $lab_dir/tests/${name%@*}.sh ]]; then
            echo "$name"
            continue
        fi
        for test in "${all_tests[@]}"; do
            [[ $test != "$name" && ${test%@*} != "$name" ]] || echo "$test"
        done
    done
}

check_names() {
    local name
    for name in "$@"; do
        if [[ -z $(selected_tests "$name") ]]; then
            echo "lab: there is no test \"$name\"; \`lab list\` names them" >&2
            exit 2
        fi
    done
}

# Sets MOORLINE and MOORLINE_BENCH, building what they do not name, and LAB_PYTHON, which has pjsua2 if any has.
find_executables() {
    local target=${CARGO_TARGET_DIR:-$repository/target}
    export LAB_PYTHON=${LAB_PYTHON:-$target/lab-python/bin/python}
    if [[ -z ${MOORLINE:-} || -z ${MOORLINE_BENCH:-} ]]; then
        (cd "$repository" && cargo build --locked --quiet -p moorline -p moorline-bench --bin moorline --bin moorline-bench)
    fi
    export MOORLINE=${MOORLINE:-$target/debug/moorline}
    export MOORLINE_BENCH=${MOORLINE_BENCH:-$target/debug/moorline-bench}
    local executable
    for executable in "$MOORLINE" "$MOORLINE_BENCH"; do
        if [[ ! -x $executable ]]; then
            echo "lab: $executable is not there" >&2
            exit 2
        fi
    done
}

run_tests() {
    local root places=${LAB_PLACES:-$((2 * $(nproc)))} taken=0 beside=0 passed=0 tick="" ended status test takes
    local -a waiting=() faulty=()
    local -A needs=()
    # Of those that run, by process ID.
    local -A tests=() since=() holds=() passing=()
    # Logs that are to be kept live on the host's file system.
    root=${LAB_LOGS:-$(mktemp -d /tmp/moorline-lab.XXXXXX)}
    mkdir -p "$root"
    # SIGINT ends the whole: this is PID 1 of its namespace, which gets only signals that it handles.
    trap 'exit 130' INT TERM
    while read -r takes test; do
        waiting+=("$test")
        needs[$test]=$takes
    done < <(selected_tests "$@" | awk '!seen[$0]++' | by_places)
    while ((${#waiting[@]} || ${#tests[@]})); do
        start_what_fits
        if [[ -z $tick ]]; then
            sleep 0.2 &
            tick=$!
        fi
        status=0
        wait -n -p ended || status=$?
        case ${ended:-} in
            "$tick")
                tick=""
                make_place_of_quiet_tests
                ;;
            ?*) [[ -z ${tests[$ended]:-} ]] || end_test "$ended" "$status" ;;
        esac
    done
    [[ -n ${LAB_LOGS:-} ]] || rmdir --ignore-fail-on-non-empty "$root"
    ((${#faulty[@]} == 0)) || echo "FAILED: ${faulty[*]}"
    echo "$passed passed, ${#faulty[@]} failed"
    ((${#faulty[@]} == 0))
}

# Tells of a test that has ended. It passed if it came to its end and noted no fault.
end_test() {
    local pid=$1 status=$2 test logs seconds
    test=${tests[$pid]} logs=$root/${tests[$pid]} seconds=$((SECONDS - since[$1]))
    free_places "$pid"
    unset "tests[$pid]"
    ((status == 0)) || [[ -s $logs/faults ]] || {
        echo "the test ended with status $status"
        tail -n 3 "$logs/lab.log"
    } >>"$logs/faults"
    if [[ -s $logs/faults ]]; then
        faulty+=("$test")
        echo "FAIL $test ($seconds s), logs in $logs"
        sed 's/^/     fault: /' "$logs/faults"
    else
        passed=$((passed + 1))
        echo "PASS $test ($seconds s)"
    fi
    [[ ! -s $logs/summary ]] || sed 's/^/     /' "$logs/summary"
    # Only failures are worth their space.
    [[ -s $logs/faults || -n ${LAB_LOGS:-} ]] || rm -r "${logs:?}"
}

# Runs one test, in the network around it, with its logs in a directory. What it has started ends with it, for this is
# PID 1 of its namespace.
run_test() {
    local test=$1 logs=$2
    # In the background, because bash ignores `set -e` in what it tests the status of.
    (
        set -euo pipefail
        # shellcheck source=attacks.sh
        source "$lab_dir/attacks.sh"
        # shellcheck source=calls.sh
        source "$lab_dir/calls.sh"
        # shellcheck source=captures.sh
        source "$lab_dir/captures.sh"
        # shellcheck source=carriers.sh
        source "$lab_dir/carriers.sh"
        # shellcheck source=peers.sh
        source "$lab_dir/peers.sh"
        # shellcheck source=servers.sh
        source "$lab_dir/servers.sh"
        # shellcheck source=telephones.sh
        source "$lab_dir/telephones.sh"
        datapath=${test#*@} sockets=auto offload=false
        [[ $datapath != *+offload ]] || offload=true
        datapath=${datapath%+offload}
        [[ $datapath != *-* ]] || sockets=${datapath#*-}
        datapath=${datapath%-*}
        trap 'echo "stopped at line $LINENO of $BASH_SOURCE: $BASH_COMMAND" >>"$logs/faults"' ERR
        set -E
        cd "$logs"
        hold_calls over
        # shellcheck disable=SC1090
        source "$lab_dir/tests/${test%@*}.sh"
    ) >"$logs/test.log" 2>&1 </dev/null &
    wait $!
}
