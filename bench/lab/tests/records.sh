# PostgreSQL and FreeRADIUS have the record of each call once, also of calls that were made before they were there and while
# they were away; and the record says what the parties were told.

write_config
install -d -m 0700 -o nobody "$state"
keep_secret radius "a secret of the lab"
sed -i "s|^\[signaling\]$|&\nstate = \"$state\"|" moorline.toml
cat >>moorline.toml <<TOML

[signaling.cdr.postgres]
host = "$postgres"
database = "postgres"
user = "moorline"

[signaling.cdr.radius]
servers = ["127.0.0.1:1813"]
secret_file = "$secret"
timeout_ms = 200

[[signaling.routes]]
prefix = "900"
refuse = { status = 403, reason = "Barred" }
TOML
make_speech 1
make_postgres
start_moorline
start_called_party

# calls NAME COUNT: so many answered calls.
calls() {
    start_caller "$1" core "$core_ip" 5100 "$sbc_core_ip:5060" 8610086 1200 -m "$2" -r 10
    await_callers "$1" "$started" "$2"
}

# Nobody is there. What fails is tried again after half a second, and after twice as long each time, up to a minute.
calls before 3
start_refused barred 5110 900123 403 Barred
await_callers barred "$started" 1
await "records that wait" counts 4 cdr_postgres_waiting
start_postgres
start_accounting
await "the records in PostgreSQL" counts 4 cdr_postgres_written
# An account is told of when it begins and when it ends.
await "the accounts" counts 7 cdr_radius_written

# They go while calls are up.
hold_calls held 1
start_caller meanwhile core "$core_ip" 5120 "$sbc_core_ip:5060" 8610086 1200 -m 2 -r 10
callers=$started
await_calls_up 5
kill -KILL "$accounting_pid"
wait "$accounting_pid" || true
kill -INT "$postgres_pid"
wait "$postgres_pid" || true
let_calls_end
await_callers meanwhile "$callers" 2
calls away 3
start_postgres
start_accounting
await "the other records in PostgreSQL" counts 9 cdr_postgres_written
await "the other accounts" counts 17 cdr_radius_written
look told
require "records that wait" "$(figure told.scrape cdr_postgres_waiting cdr_radius_waiting)" -eq 0

require "records" "$(query "SELECT count(*) FROM moorline_records")" -eq 9
require "records by their identifiers" "$(query "SELECT count(DISTINCT id) FROM moorline_records")" -eq 9
require "records of answered calls" "$(query "SELECT count(*) FROM moorline_records WHERE cause = 'caller_hung_up' AND
    caller_code = 200 AND callee_code = 200 AND called_number = '8610086' AND caller_trunk = 'customers' AND
    callee_trunk = 'carrier' AND caller_packets = 50 AND callee_packets = 50 AND callee_codec LIKE 'PCMA%' AND
    end_time - answer > '1 s'")" -eq 8
require "records of refused calls" "$(query "SELECT count(*) FROM moorline_records WHERE caller_code = 403 AND
    caller_reason = 'Barred' AND called_number = '900123' AND answer IS NULL")" -eq 1
# What FreeRADIUS was told twice, as happens where its answer was lost, has the same identifier.
accounts() {
    awk -v kind="$1" '/Acct-Status-Type = / { type = $3 } /Acct-Session-Id = / { id = $3 }
        /^$/ { if (type == kind) seen[id]; type = "" } END { print length(seen) }' accounting/detail
}
require "accounts that began" "$(accounts Start)" -eq 8
require "accounts that ended" "$(accounts Stop)" -eq 9
stop_answerer called "$called_pid" 8
await_idle
stop_moorline
