//! Signaling is killed again and again while calls are in every phase: of each attempt that its caller has heard of there
//! is one record, and never two.
#![cfg(test)]

mod stand;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use nix::sys::signal::Signal;
use stand::Stand;
use stand::parties::{Callers, serve, socket};

/// How often signaling is killed.
const KILLS: u32 = 8;

/// How long a caller waits before it says something again.
const AGAIN: Duration = Duration::from_millis(100);

#[test]
fn signaling_killed_again_and_again_writes_down_each_call_once() {
    let state = tempfile::tempdir().expect("a folder");
    let stand = Stand::up_with(70, |text, _| {
        let text = text.replacen("[signaling]\n", &format!("[signaling]\nstate = {:?}\n", state.path()), 1);
        text.replacen("[media]\n", "[signaling.cdr.json]\n[signaling.cdr.csv]\n[media]\n", 1)
    });
    let callers = Callers::new(&stand);
    let (called, called_at) = (socket(&stand, 3), stand.address(3, 5060).to_string());
    let over = AtomicBool::new(false);
    thread::scope(|scope| {
        scope.spawn(|| callers.listen(&over));
        scope.spawn(|| serve(&called, &called_at, &over));
        let mut number = 0;
        for kill in 0..KILLS {
            for step in 0..60 {
                let call = format!("kill{kill}call{number}");
                number += 1;
                callers.call(&call, ["5550", "5551", "5552", "5550", "9999"][step % 5]);
                // Every third call that is up ends.
                for (call, tag) in callers.up().into_iter().step_by(3).take(2) {
                    callers.request("BYE", 2, &call, "5550", Some(&tag));
                }
                thread::sleep(Duration::from_millis(5));
                // In the middle of all this, a little later each time.
                if step == 30 + kill as usize * 3 {
                    stand.kill_and_await_successor("signaling");
                    stand.until_connected();
                }
            }
        }
        // Those that are left hang up.
        stand.until("all calls have ended", || {
            for (call, tag) in callers.up() {
                callers.request("BYE", 2, &call, "5550", Some(&tag));
            }
            thread::sleep(AGAIN);
            callers.up().is_empty()
        });
        // What rang is cancelled with its process: a last kill, so that nothing has to time out.
        stand.kill_and_await_successor("signaling");
        stand.until_nothing_is_left();
        over.store(true, Ordering::Relaxed);
    });
    let mut stand = stand;
    assert_eq!(stand.end(Signal::SIGTERM), Some(0), "{}", stand.log());

    let text = std::fs::read_to_string(state.path().join("cdr/records.jsonl")).expect("records");
    let mut records: BTreeMap<String, serde_json::Value> = BTreeMap::new();
    let mut ids = BTreeSet::new();
    for line in text.lines() {
        let record: serde_json::Value = serde_json::from_str(line).expect("a record");
        assert!(ids.insert(record["id"].as_str().expect("an id").to_owned()), "two records: {line}");
        let call = record["caller"]["call_id"].as_str().expect("a Call-ID").to_owned();
        assert!(records.insert(call, record.clone()).is_none(), "two records of one call: {line}");
    }
    let csv = std::fs::read_to_string(state.path().join("cdr/records.csv")).expect("records");
    let again: Vec<&str> = csv.lines().skip(1).map(|line| line.split(',').next().unwrap_or_default()).collect();
    assert_eq!(again.len(), ids.len(), "the other sink has other records");
    assert!(again.iter().all(|id| ids.contains(*id)));

    let seen = callers.seen.lock().expect("no panic");
    let (mut heard, mut causes) = (0, BTreeMap::<String, u32>::new());
    for (call, known) in seen.iter() {
        let Some(record) = records.get(call) else {
            assert!(known.statuses.is_empty(), "no record of {call}: {known:?}\n{}", stand.log());
            continue;
        };
        let cause = record["cause"].as_str().expect("a cause");
        *causes.entry(cause.to_owned()).or_default() += 1;
        heard += u32::from(!known.statuses.is_empty());
        if let Some(status) = known.statuses.iter().find(|status| **status >= 200) {
            assert_eq!(record["caller"]["code"].as_u64(), Some(u64::from(*status)), "{call}: {record}");
        }
        if known.tag.is_some() {
            assert!(record["answer"].is_string() && cause == "caller_hung_up", "{call}: {record}");
        }
    }
    assert!(heard > KILLS * 40, "most calls were heard of, not only {heard}: {causes:?}");
    for cause in ["caller_hung_up", "refused", "rejected", "signaling_lost"] {
        assert!(causes.get(cause).is_some_and(|count| *count > 0), "no call ended so: {cause}, {causes:?}");
    }
}
