# A lab that is killed with SIGKILL leaves no process and no namespace behind.

# A stand-in for the lab's first process, as `lab` starts it.
start outer sbc setpriv --pdeathsig KILL bash -c '"$@"; true' lab \
    setpriv --pdeathsig KILL unshare --mount --net --pid --fork --kill-child --mount-proc -- \
    "$lab_dir/lab" inside run bash -c 'touch up; exec sleep 1000'
outer=$started
await "the inner lab" test -e up

# Every process of the inner lab is in one of its PID namespaces.
inner_namespace=$(readlink "/proc/$(pgrep -f '^sleep 1000$')/ns/pid")
members() {
    local process
    for process in /proc/[0-9]*; do
        [[ $(readlink "$process/ns/pid" 2>/dev/null) != "$inner_namespace" ]] || echo "${process#/proc/}"
    done
}
require "processes of the inner lab before" "$(members | wc -l)" -ge 2
kill -KILL "$outer"
no_members() {
    [[ -z $(members) ]]
}
await "the end of all processes of the inner lab" no_members
[[ $(ip netns | sort | tr -s ' \n' ' ' | sed 's/ (id: [0-9]*)//g') == "carrier core sbc " ]] ||
    fault "network namespaces have changed: $(ip netns)"
summary "no process of a killed lab is left"
