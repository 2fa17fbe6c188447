# Runs the lab's tests: each in a subshell, with a directory of its own for logs, and an end by a verdict.

# NAME, NAME@DATAPATH or NAME@DATAPATH-SOCKETS, in the order in which they run. Where SOCKETS is not said, Moorline
# chooses: shared ones for io_uring, because tests run as root.
all_tests=(
    no-way-out
    taken-away
    sipp-calls@io_uring
    sipp-calls@af_xdp
    generator-calls@io_uring
    generator-calls@epoll
    moorline-load@io_uring
    ipv6-bridge@io_uring
    kill-signaling@io_uring
    kill-media@io_uring
    kill-media@io_uring-per_port
    kill-media@af_xdp
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
    scans@io_uring
    scans-endpoints@io_uring
)

test_names() {
    printf '%s\n' "${all_tests[@]}"
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
    local test root passed=0 failed=0 since
    refuse_way_out
    # Before anything hides it: logs that are to be kept live on the host's file system.
    root=${LAB_LOGS:-$(mktemp -d /tmp/moorline-lab.XXXXXX)}
    mkdir -p "$root"
    # SIGINT ends the whole: this is PID 1 of its namespace, which gets only signals that it handles.
    trap 'exit 130' INT TERM
    while read -r test; do
        since=$SECONDS
        # In the background, because bash ignores `set -e` in what it tests the status of.
        run_test "$test" "$root/$test" &
        if wait $!; then
            passed=$((passed + 1))
            echo "PASS $test ($((SECONDS - since)) s)"
        else
            failed=$((failed + 1))
            echo "FAIL $test ($((SECONDS - since)) s), logs in $root/$test"
        fi
        [[ ! -s $root/$test/summary ]] || sed 's/^/     /' "$root/$test/summary"
        # Only failures are worth their space.
        [[ -s $root/$test/faults || -n ${LAB_LOGS:-} ]] || rm -r "${root:?}/$test"
    done < <(selected_tests "$@")
    [[ -n ${LAB_LOGS:-} ]] || rmdir --ignore-fail-on-non-empty "$root"
    echo "$passed passed, $failed failed"
    ((failed == 0))
}

# Runs one test. It passes if it came to its end and noted no fault.
run_test() {
    local test=$1 logs=$2
    rm -rf "$logs"
    mkdir -p "$logs"
    : >"$logs/pids"
    # In the background for the same reason.
    (
        set -euo pipefail
        # shellcheck source=attacks.sh
        source "$lab_dir/attacks.sh"
        # shellcheck source=calls.sh
        source "$lab_dir/calls.sh"
        # shellcheck source=captures.sh
        source "$lab_dir/captures.sh"
        # shellcheck source=peers.sh
        source "$lab_dir/peers.sh"
        # shellcheck source=servers.sh
        source "$lab_dir/servers.sh"
        # shellcheck source=telephones.sh
        source "$lab_dir/telephones.sh"
        datapath=${test#*@} sockets=auto
        [[ $datapath != *-* ]] || sockets=${datapath#*-}
        datapath=${datapath%-*}
        trap 'echo "stopped at line $LINENO of $BASH_SOURCE: $BASH_COMMAND" >>"$logs/faults"' ERR
        set -E
        cd "$logs"
        # shellcheck disable=SC1090
        source "$lab_dir/tests/${test%@*}.sh"
    ) >"$logs/test.log" 2>&1 </dev/null &
    local status=0
    wait $! || status=$?
    end_processes "$logs/pids"
    ((status == 0)) || [[ -s $logs/faults ]] || echo "the test ended with status $status" >>"$logs/faults"
    if [[ -s $logs/faults ]]; then
        sed 's/^/     fault: /' "$logs/faults"
        return 1
    fi
}

# Ends what a test started and left.
end_processes() {
    local pid
    while read -r pid; do
        kill -KILL "$pid" 2>/dev/null || true
    done <"$1"
}
