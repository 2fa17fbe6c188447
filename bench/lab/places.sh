# Which tests run at once: each takes places of the machine, and gives them back when it has ended or only waits. What is
# known of those that run is in the variables of run_tests.

# The places that a test takes, of those that there are: two are what a core can do.
places_of() {
    local takes=1
    case ${1%@*} in
        # Their load is all that the machine can do.
        attack | attack-flood) takes=$places ;;
        # Hundreds of streams, of which no packet may be lost.
        sipp-calls | generator-calls | moorline-load | ipv6-* | garbage | queues) takes=3 ;;
        # What is lost tells for how long media stood still.
        kill-* | path-changes) takes=2 ;;
        # Dozens of calls at the same moment.
        carrier-edge | carrier-customer) takes=2 ;;
    esac
    echo "$((takes < places ? takes : places))"
}

# Sorts tests: those that take most places first, so that the others fill what they leave.
by_places() {
    local test
    while read -r test; do
        echo "$(places_of "$test") $test"
    done | sort -s -n -r -k 1,1
}

# Starts tests in their order. Where the first has no room, others pass it that leave it enough.
start_what_fits() {
    local index test head=""
    for index in "${!waiting[@]}"; do
        test=${waiting[$index]}
        if ((taken + ${needs[$test]} > places)); then
            head=${head:-$test}
        elif [[ -z $head ]]; then
            start_test "$test" 0
            unset "waiting[$index]"
        elif ((${needs[$head]} + beside + ${needs[$test]} <= places)); then
            start_test "$test" "${needs[$test]}"
            unset "waiting[$index]"
        fi
    done
}

# start_test TEST PASSING: in namespaces of its own; of its places so many are beside who waits for more.
start_test() {
    local test=$1 logs=$root/$1
    rm -rf "$logs"
    mkdir -p "$logs"
    # Before what else the machine does: the kernel's queues are short. Where that is not allowed, it only says so.
    apart nice -n -5 "$lab_dir/lab" inside one "$test" "$logs" >"$logs/lab.log" 2>&1 </dev/null &
    tests[$!]=$test
    since[$!]=$SECONDS
    holds[$!]=${needs[$test]}
    passing[$!]=$2
    taken=$((taken + ${needs[$test]}))
    beside=$((beside + $2))
}

# free_places PID
free_places() {
    taken=$((taken - ${holds[$1]}))
    beside=$((beside - ${passing[$1]}))
    holds[$1]=0 passing[$1]=0
}

# Of tests that only wait from now on.
make_place_of_quiet_tests() {
    local pid
    for pid in "${!tests[@]}"; do
        [[ ! -e $root/${tests[$pid]}/quiet ]] || free_places "$pid"
    done
}
