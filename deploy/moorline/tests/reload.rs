//! `moorline reload` and `moorline rollback` against running processes, with calls under way.

mod stand;

use std::time::Duration;

use moorline_bench::load::{self, Plan};
use nix::sys::signal::{Signal, kill};
use stand::Stand;
use stand::operator::{edit, json, moorline, post, said};

/// With two workers, and what outlives them.
fn up(net: u8) -> Stand {
    Stand::up_with(net, |text, socket| {
        let state = socket.replace("media.sock", "state");
        text.replacen("[signaling]", &format!("[signaling]\nstate = {state:?}\nworkers = 2"), 1)
    })
}

/// Calls that are not taken for repetitions of earlier ones.
fn plan(stand: &Stand, calls: u32, seconds: u64, seed: u64) -> Plan {
    Plan { seed, ..stand.plan(calls, Duration::from_secs(seconds)) }
}

const CALLER: &str = "name = \"caller\"\n";

#[test]
fn a_reload_in_the_middle_of_calls_is_heard_by_new_ones_alone_and_rolled_back() {
    let stand = up(91);
    let mut reloaded = None;
    let (mut trunks, mut leaving) = (String::new(), serde_json::Value::Null);
    let report = load::run(&plan(&stand, 20, 4, 1), &mut |progress| {
        if progress.active == 20 && reloaded.is_none() {
            // The callers' trunk is another one from now on, and takes three calls.
            edit(&stand, CALLER, "name = \"callers\"\nlimits.inbound.calls = 3\n");
            reloaded = Some(moorline(&stand, &["reload"]));
            trunks = said(&moorline(&stand, &["trunks"]));
            leaving = json(&moorline(&stand, &["trunks", "caller", "--json"]))["trunks"][0].clone();
        }
    });
    let report = report.expect("the load runs");
    let reloaded = reloaded.expect("all calls were up at once");
    let told = said(&reloaded);
    assert!(reloaded.status.success(), "{told}\n{}", stand.log());
    assert!(told.contains("- signaling.trunks[caller]: ") && told.contains("+ signaling.trunks[callers]: "), "{told}");
    assert!(told.contains("2 changes, in force"), "{told}");
    assert!(report.is_clean(), "{report:#?}\n{}", stand.log());
    assert!(trunks.contains("leaving: not configured any more"), "{trunks}");
    let expected = (&20.into(), &0.into(), &true.into(), &"test".into());
    assert_eq!((&leaving["calls_in"], &leaving["calls_out"], &leaving["leaving"], &leaving["listener"]), expected);
    stand.until("the trunk is not shown any more", || !moorline(&stand, &["trunks", "caller"]).status.success());
    assert!(!said(&moorline(&stand, &["trunks"])).contains("leaving"));
    assert!(said(&moorline(&stand, &["status"])).contains("up.toml, by a reload at 20"));

    let report = load::run(&plan(&stand, 10, 2, 2), &mut |_| {}).expect("the load runs");
    let refused: u32 = report.failed.iter().filter(|(reason, _)| reason.status == Some(503)).map(|(_, n)| n).sum();
    assert!(refused > 0 && report.completed + refused == 10, "{report:#?}\n{}", stand.log());

    // The file says the same as before, and a restart would begin with it.
    let back = moorline(&stand, &["rollback"]);
    assert!(back.status.success() && said(&back).contains("note: a restart reads"), "{}", said(&back));
    let report = load::run(&plan(&stand, 10, 2, 3), &mut |_| {}).expect("the load runs");
    assert!(report.is_clean(), "{report:#?}\n{}", stand.log());
    assert!(said(&moorline(&stand, &["status"])).contains("the one before, by a rollback at 20"));
    let reply = json(&moorline(&stand, &["reload", "--dry-run", "--json"]));
    assert_eq!(reply["reload"]["applied"], false);
    assert_eq!(reply["reload"]["changes"].as_array().map(Vec::len), Some(2), "{reply}");
    let page = stand.signaling().expect("metrics");
    let reloads = |outcome| page.value("moorline_sip_reloads_total", &[("outcome", outcome)]);
    assert_eq!(["applied", "refused", "unchanged"].map(reloads), [Some(2.0), Some(0.0), Some(0.0)]);
    stand.until_nothing_is_left();
}

#[test]
fn http_reloads_and_rolls_back_as_commands_do() {
    let stand = up(94);
    edit(&stand, CALLER, "name = \"caller\"\nlimits.inbound.calls = 0\n");
    let (status, tried) = post(&stand, "reload", r#"{"dry_run":true}"#);
    assert_eq!(
        (status, &tried["applied"], &tried["changes"][0]["after"]),
        (200, &false.into(), &"{ inbound = { calls = 0 } }".into()),
        "{tried}"
    );
    let (status, done) = post(&stand, "reload", "");
    assert_eq!((status, &done["applied"]), (200, &true.into()), "{done}");
    let report = load::run(&plan(&stand, 3, 1, 7), &mut |_| {}).expect("the load runs");
    assert_eq!(report.completed, 0, "{report:#?}");
    edit(&stand, "workers = 2", "workers = 3");
    let (status, refused) = post(&stand, "reload", "");
    assert_eq!((status, &refused["applied"]), (409, &false.into()), "{refused}");
    assert!(refused["refused"][0].as_str().is_some_and(|why| why.contains("signaling.workers")), "{refused}");
    let (status, back) = post(&stand, "rollback", "{}");
    assert_eq!((status, &back["applied"]), (200, &true.into()), "{back}");
    let report = load::run(&plan(&stand, 3, 1, 8), &mut |_| {}).expect("the load runs");
    assert!(report.is_clean(), "{report:#?}\n{}", stand.log());
}

#[test]
fn bounds_and_the_time_zone_change_while_calls_are_up() {
    let stand = up(114);
    let mut reloads = Vec::new();
    let report = load::run(&plan(&stand, 10, 3, 1), &mut |progress| {
        if progress.active == 10 && reloads.is_empty() {
            edit(&stand, "workers = 2", "workers = 2\noverload = { new_calls_per_second = 1, retry_after_s = 9 }");
            reloads.push(moorline(&stand, &["reload"]));
        }
    });
    let report = report.expect("the load runs");
    assert!(reloads[0].status.success(), "{}", said(&reloads[0]));
    assert!(report.is_clean(), "{report:#?}\n{}", stand.log());
    let report = load::run(&plan(&stand, 10, 1, 2), &mut |_| {}).expect("the load runs");
    let refused: u32 = report.failed.iter().filter(|(reason, _)| reason.status == Some(503)).map(|(_, n)| n).sum();
    assert!(refused > 0 && report.completed + refused == 10, "{report:#?}\n{}", stand.log());

    // Twelve hours apart, it is never the same half of the day.
    let hour = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).expect("a clock").as_secs() / 3600;
    let (from, to) = ((hour + 21) % 24, (hour + 3) % 24);
    let bounds = "overload = { new_calls_per_second = 1, retry_after_s = 9 }";
    edit(&stand, bounds, "time_zone = \"Etc/UTC\"");
    edit(&stand, "to = \"callee\"", &format!("to = \"callee\"\nwhen = \"{from:02}:00-{to:02}:59\""));
    let reloaded = moorline(&stand, &["reload"]);
    assert!(reloaded.status.success(), "{}", said(&reloaded));
    let report = load::run(&plan(&stand, 3, 1, 3), &mut |_| {}).expect("the load runs");
    assert!(report.is_clean(), "{report:#?}\n{}", stand.log());
    edit(&stand, "Etc/UTC", "Etc/GMT-12");
    let reloaded = moorline(&stand, &["reload"]);
    assert!(reloaded.status.success(), "{}", said(&reloaded));
    let report = load::run(&plan(&stand, 3, 1, 4), &mut |_| {}).expect("the load runs");
    assert_eq!(report.completed, 0, "no route at this hour: {report:#?}");
    edit(&stand, "Etc/GMT-12", "Etc/GMT-12\"\noverload.queue = 64 # \"");
    let refused = moorline(&stand, &["reload"]);
    assert!(said(&refused).contains("signaling.overload.queue cannot be changed"), "{}", said(&refused));
    stand.until_nothing_is_left();
}

#[test]
fn what_cannot_be_taken_over_changes_nothing() {
    let mut stand = up(92);
    let children = ["signaling", "media"].map(|role| stand.child(role).expect("it runs"));
    edit(&stand, "to = \"callee\"", "to = \"callees\"");
    kill(stand.pid(), Signal::SIGHUP).expect("it runs");
    stand.until("the fault is told", || {
        let log = stand.log();
        log.contains("the configuration stays as it was") && log.contains("signaling.routes[0].to")
    });
    edit(&stand, "to = \"callees\"", "to = \"callee\"");
    let refuse = "[[signaling.routes]]\nprefix = \"9\"\nrefuse = { status = 403, announcement = \"unheard\" }\n";
    edit(&stand, "[[signaling.routes]]\n", &format!("{refuse}[[signaling.routes]]\n"));
    let refused = moorline(&stand, &["reload"]);
    assert_eq!(refused.status.code(), Some(1), "{}", said(&refused));
    assert!(
        said(&refused).contains("signaling.routes[0].refuse.announcement: media has no \"unheard\""),
        "{}",
        said(&refused)
    );
    edit(&stand, refuse, "");
    edit(&stand, "first_port = 20000", "first_port = 20002");
    edit(&stand, "workers = 2", "workers = 3");
    edit(&stand, CALLER, "name = \"caller\"\ntrusted = true\n");
    let refused = moorline(&stand, &["reload"]);
    let told = said(&refused);
    assert_eq!(refused.status.code(), Some(1), "{told}");
    assert!(told.contains("~ signaling.workers: 2 -> 3"), "{told}");
    assert!(told.contains("signaling.workers cannot be changed") && told.contains("[media]"), "{told}");
    assert!(told.contains("refused, nothing has changed"), "{told}");
    let report = load::run(&plan(&stand, 5, 1, 4), &mut |_| {}).expect("the load runs");
    assert!(report.is_clean(), "{report:#?}\n{}", stand.log());
    assert_eq!(["signaling", "media"].map(|role| stand.child(role)), children.map(Some));
    assert_eq!(stand.end(Signal::SIGTERM), Some(0), "{}", stand.log());
}

#[test]
fn a_signal_reloads_and_a_restart_can_still_be_rolled_back() {
    let stand = up(93);
    edit(&stand, CALLER, "name = \"caller\"\nlimits.inbound.calls = 0\n");
    kill(stand.pid(), Signal::SIGHUP).expect("it runs");
    stand.until("it runs", || stand.log().contains("another configuration runs"));
    let report = load::run(&plan(&stand, 3, 1, 5), &mut |_| {}).expect("the load runs");
    assert_eq!(report.completed, 0, "{report:#?}");
    stand.kill_and_await_successor("signaling");
    stand.until_connected();
    let back = moorline(&stand, &["rollback"]);
    assert!(back.status.success(), "{}", said(&back));
    assert!(said(&back).contains("- signaling.trunks[caller].limits"), "{}", said(&back));
    let report = load::run(&plan(&stand, 3, 1, 6), &mut |_| {}).expect("the load runs");
    assert!(report.is_clean(), "{report:#?}\n{}", stand.log());
}
