use std::net::SocketAddr;
use std::time::Duration;

use super::*;
use crate::load::{Credentials, Failure, Spread, Transport};

pub(crate) fn plan() -> Plan {
    let at = |text: &str| text.parse::<SocketAddr>().unwrap();
    Plan { calls: 100, ..Plan::new(at("192.0.2.1:5060"), at("192.0.2.2:5060"), at("192.0.2.3:5080")) }
}

/// A load of two intervals of which some failed.
pub(crate) fn report() -> Report {
    let mut report = Report {
        attempted: 100,
        reached: 95,
        answered: 90,
        completed: 89,
        placing: Duration::from_millis(9_900),
        has_media: true,
        is_verified: true,
        packets_sent: 10_000,
        packets_received: 9_990,
        lost: 10,
        ..Report::default()
    };
    report.failed.insert(Failure::refused(503, "Service <b>Unavailable</b>"), 10);
    report.failed.insert(Failure::from("no answer to BYE"), 1);
    for value in 1..=90 {
        report.setup.record(value * 1_000_000).unwrap();
        report.post_dial.record(value * 10_000).unwrap();
        report.one_way.record(value * 1_000).unwrap();
    }
    let interval = |seconds, lost| Sample {
        at: Duration::from_secs(seconds),
        span: Duration::from_secs(5),
        attempted: 50,
        answered: 45,
        active: 40,
        packets_sent: 5_000,
        packets_received: 5_000 - lost,
        lost,
        setup: Spread { count: 45, p50: 40_000_000, p99: 90_000_000, max: 90_000_000 },
        one_way: Spread { count: 5_000, p50: 45_000, p99: 89_000, max: 90_000 },
        ..Sample::default()
    };
    report.series = vec![interval(5, 0), interval(10, 10)];
    report
}

fn account() -> Account {
    Account::new(&plan(), &report(), &Thresholds::default(), Vec::new(), false)
}

#[test]
fn the_document_reads_as_it_was_written() {
    let account = account();
    let json = account.to_json().unwrap();
    assert_eq!(Account::from_json(&json).unwrap(), account);
    let value: serde_json::Value = serde_json::from_str(&json).unwrap();
    assert_eq!(value["schema"], "moorline-load/1");
    assert_eq!(value["calls"]["failures"][0]["status"], 503);
    assert_eq!(value["calls"]["failures"][1]["status"], serde_json::Value::Null);
    assert_eq!(value["media"]["loss"], 0.001);
    assert_eq!(value["series"][1]["lost"], 10);
    assert_eq!(value["plan"]["concurrent"], serde_json::Value::Null);
    assert_eq!(value["times"]["setup"]["count"], 90);
    assert!(value["ramp"].as_array().unwrap().is_empty());
}

#[test]
fn buckets_hold_every_value_once() {
    let mut histogram = Histogram::new();
    for value in [5u64, 5, 900, 1_000, 1_000_000] {
        histogram.record_n(value * 1_000, 1).unwrap();
    }
    histogram.record_n(500_000, 1_000).unwrap();
    let found = Distribution::of(&histogram);
    assert_eq!(found.buckets.iter().map(|bucket| bucket.count).sum::<u64>(), found.count);
    assert!(found.buckets.windows(2).all(|two| two[0].up_to_us < two[1].up_to_us), "{found:?}");
    assert_eq!(found.buckets.last().map(|bucket| (bucket.up_to_us >= 1e6, bucket.count)), Some((true, 3)));
    let mut one = Histogram::new();
    one.record_n(7_000, 3).unwrap();
    assert_eq!(Distribution::of(&one).buckets.iter().map(|bucket| bucket.count).sum::<u64>(), 3);
    assert_eq!(Distribution::of(&Histogram::new()), Distribution::default());
}

#[test]
fn a_later_version_may_add_members() {
    let json = account().to_json().unwrap().replacen("{", "{\"of_tomorrow\": {\"x\": 1},", 1);
    assert_eq!(Account::from_json(&json).unwrap(), account());
}

#[test]
fn thresholds_decide() {
    let report = report();
    let with = |failed, loss| faults(&report, &Thresholds { failed, loss });
    assert_eq!(with(0.11, 0.001), Vec::<String>::new());
    assert_eq!(with(0.10, 0.001), ["11 of 100 calls failed: 11.0 %, allowed are 10.0 %"]);
    assert_eq!(with(0.2, 0.0), ["10 packets were lost: 0.10 %, allowed are 0 %"]);
    let crossed = Report { crossed: 1, ..report.clone() };
    assert_eq!(faults(&crossed, &Thresholds { failed: 1.0, loss: 1.0 }), ["1 packets arrived in another call"]);
    assert_eq!(faults(&Report::default(), &Thresholds::default()), ["no call was placed"]);
}

#[test]
fn advice_names_what_to_look_at() {
    let failing = |failure: Failure| {
        let mut report = Report { attempted: 5, ..Report::default() };
        report.failed.insert(failure, 5);
        report
    };
    let says = |plan: &Plan, report: &Report, text: &str| {
        let advice = advice(plan, report);
        assert!(advice.iter().any(|line| line.contains(text)), "{advice:?}");
    };
    let plan = plan();
    says(&plan, &failing(Failure::refused(404, "Not Found")), "the SBC never called 192.0.2.3:5080; is its route set?");
    says(
        &plan,
        &failing("192.0.2.1:5060 cannot be reached: nobody listens there".into()),
        "nothing listens on 192.0.2.1",
    );
    says(&plan, &failing("no answer to INVITE".into()), "silent to strangers");
    says(&plan, &failing(Failure::refused(407, "x")), "--user");
    let known = Plan { credentials: Some(Credentials { user: "a".into(), password: "b".into() }), ..plan.clone() };
    says(&known, &failing(Failure::refused(401, "x")), "does not accept");
    says(&plan, &failing(Failure::refused(488, "x")), "--codec");
    says(&plan, &Report { strangers: 3, ..failing("no answer to 200".into()) }, "--number");
    let tcp = Plan { transport: Transport::Tcp, ..plan.clone() };
    says(&tcp, &failing(Failure::refused(404, "x")), "the SBC never called 192.0.2.3:5080 over TCP; is its route set?");
    says(&tcp, &failing("1 cannot be reached: nobody listens there".into()), "over TCP");
    assert_eq!(advice(&plan, &Report { attempted: 5, reached: 5, completed: 5, ..Report::default() }), [""; 0]);
}

#[test]
fn a_ramp_names_the_highest_clean_rate() {
    let clean = Report { failed: Default::default(), lost: 0, completed: 100, ..report() };
    let thresholds = Thresholds::default();
    let steps = |reports: &[&Report]| -> Vec<Step> {
        reports.iter().zip([10.0, 20.0, 30.0]).map(|(report, rate)| Step::of(rate, report, &thresholds)).collect()
    };
    // The fixture's calls came at 10 a second: at 20 that is too few.
    let account = |reports: &[&Report]| Account::new(&plan(), &report(), &thresholds, steps(reports), false);
    let found = account(&[&clean, &clean]);
    assert_eq!((found.highest_clean_rate, found.verdict.passed), (Some(10.0), true));
    assert_eq!(found.ramp[1].reasons, ["only 10.0 calls per second were placed"]);
    let none = account(&[&report()]);
    assert_eq!((none.highest_clean_rate, none.verdict.passed), (None, false));
}

#[test]
fn reports_add_up() {
    let mut sum = report();
    sum.append(report());
    assert_eq!((sum.attempted, sum.failures(), sum.lost, sum.setup.len()), (200, 22, 20, 180));
    let times: Vec<u64> = sum.series.iter().map(|sample| sample.at.as_secs()).collect();
    assert_eq!(times, [5, 10, 15, 20]);
    assert_eq!(report().rate_per_s(), 10.0);
}

#[test]
fn the_page_needs_nothing_else_and_shows_everything() {
    let steps = vec![Step::of(10.0, &report(), &Thresholds { failed: 1.0, loss: 1.0 })];
    let page = Account::new(&plan(), &report(), &Thresholds::default(), steps, false).to_html();
    for absent in ["<script", "http://", "https://", "url(", "@import", "<b>Unavailable", "NaN"] {
        assert!(!page.contains(absent), "{absent}");
    }
    for present in [
        "Calls per second",
        "Calls at once",
        "Post-dial delay",
        "By percentile",
        "One way over time",
        "Loss over time",
        "Failed calls",
        "Service &lt;b&gt;Unavailable",
        "Ramp",
        "prefers-color-scheme: dark",
        "name=\"viewport\"",
    ] {
        assert!(page.contains(present), "{present}");
    }
    assert_eq!(page.matches("<svg").count(), page.matches("</svg>").count());
    let without = Report { has_media: false, ..Report::default() };
    let page = Account::new(&plan(), &without, &Thresholds::default(), Vec::new(), true).to_html();
    assert!(page.contains("no call was placed") && !page.contains("One way"), "{page}");
}

#[test]
fn the_table_is_for_people() {
    let text = account().to_text();
    for part in [
        "calls     100 attempted, 90 answered, 89 completed, 11 failed",
        "10 failed: 503 Service <b>Unavailable</b>",
        "1 failed: no answer to BYE",
        "set-up, INVITE to 200",
        "10 lost (0.10 %)",
        "FAILED",
    ] {
        assert!(text.contains(part), "no {part:?} in\n{text}");
    }
}
