use std::sync::Arc;

use moorline_b2bua::{Counters, Observation, Outcome};
use moorline_control::SessionId;

use super::{Page, Snapshot, Statistics, text};

/// When everything is observed, in nanoseconds.
const NOW: u64 = 7_200_000_000_000;

fn page(observations: impl IntoIterator<Item = Observation>) -> String {
    let mut statistics = Statistics::new();
    observations.into_iter().for_each(|observation| statistics.observe(NOW, observation));
    let counters = Counters { messages: 7, calls: 2, calls_active: 1, ..Counters::default() };
    let sum = Snapshot { counters, statistics, received: 5, sent: 6, unsent: 0, media_connected: true };
    let (streams, calls, limiter) = (Arc::default(), Arc::default(), Arc::default());
    text(Page {
        sum,
        workers: 2,
        streams,
        calls,
        records: None,
        limiter,
        unwritten: false,
        reloads: Arc::default(),
        lost_lines: 3,
        now_ns: NOW,
    })
    .expect("a page")
}

fn ended(outcome: Outcome) -> Observation {
    let call = SessionId { node: 1, virtual_shard: 2, random: 3 };
    Observation::Ended { call, from: "pbx".into(), to: None, outcome, talk_ns: 0, report: None }
}

fn has(page: &str, line: &str) {
    assert!(page.lines().any(|found| found == line), "no line {line:?} in\n{page}");
}

#[test]
fn counters_and_gauges_have_their_names() {
    let page = page([]);
    has(&page, "moorline_sip_messages_total 7");
    has(&page, "moorline_sip_calls_total 2");
    has(&page, "moorline_sip_calls_active 1");
    has(&page, "moorline_sip_media_connected 1");
    has(&page, "moorline_sip_retransmissions_total 0");
    has(&page, r#"moorline_sip_reloads_total{outcome="refused"} 0"#);
    has(&page, "moorline_log_lost_lines_total 3");
    has(&page, "moorline_sip_configuration_timestamp_seconds 0");
    assert!(!page.contains("moorline_sip_last_reload_timestamp_seconds{"), "there was none");
    assert!(page.ends_with("# EOF\n"));
}

#[test]
fn outcomes_are_told_apart_by_status() {
    let page = page([
        ended(Outcome::CallerHungUp),
        ended(Outcome::Refused(486)),
        ended(Outcome::Refused(486)),
        ended(Outcome::Refused(65_000)),
        ended(Outcome::Rejected(503)),
    ]);
    has(&page, r#"moorline_sip_outcomes_total{outcome="caller_hung_up",status=""} 1"#);
    has(&page, r#"moorline_sip_outcomes_total{outcome="refused",status="486"} 2"#);
    has(&page, r#"moorline_sip_outcomes_total{outcome="refused",status="0"} 1"#);
    has(&page, r#"moorline_sip_outcomes_total{outcome="rejected",status="503"} 1"#);
}

#[test]
fn a_media_range_that_is_not_there_is_shown_until_it_is() {
    let missing = || Observation::MediaServes { unserved: vec![("carrier".into(), "edge".into())], without_fax: false };
    let line = r#"moorline_sip_media_range_missing{trunk="carrier",range="edge"} 1"#;
    has(&page([missing()]), line);
    let mended = Observation::MediaServes { unserved: Vec::new(), without_fax: false };
    assert!(!page([missing(), mended]).lines().any(|found| found == line));
}

#[test]
fn durations_fall_into_their_buckets() {
    let page = page([
        Observation::FirstProvisional { invited_at: NOW - 10_000 },
        Observation::FirstProvisional { invited_at: NOW - 150_000 },
        Observation::Answered { invited_at: NOW - 3_600_000_000_000 },
        Observation::InviteForwarded { received_at: NOW - 1_000_000 },
        Observation::AnswerForwarded { received_at: NOW - 2_000_000_000 },
    ]);
    has(&page, r#"moorline_sip_invite_to_provisional_seconds_bucket{le="0.00001"} 1"#);
    has(&page, r#"moorline_sip_invite_to_provisional_seconds_bucket{le="0.0002"} 2"#);
    has(&page, "moorline_sip_invite_to_provisional_seconds_count 2");
    has(&page, r#"moorline_sip_invite_to_answer_seconds_bucket{le="30.0"} 0"#);
    has(&page, r#"moorline_sip_invite_to_answer_seconds_bucket{le="+Inf"} 1"#);
    has(&page, r#"moorline_sip_added_seconds_bucket{le="0.001",step="invite"} 1"#);
    has(&page, r#"moorline_sip_added_seconds_bucket{le="1.0",step="answer"} 0"#);
    has(&page, r#"moorline_sip_added_seconds_bucket{le="+Inf",step="answer"} 1"#);
}

#[test]
fn forwarding_is_measured_from_when_the_message_came() {
    let mut statistics = Statistics::new();
    statistics.waited(NOW - 5_000_000, 15_000_000);
    statistics.observe(NOW, Observation::InviteForwarded { received_at: NOW - 5_000_000 });
    statistics.observe(NOW, Observation::AnswerForwarded { received_at: NOW - 30_000 });
    statistics.forwarded(NOW, NOW - 15_000);
    let counters = Counters::default();
    let sum = Snapshot { counters, statistics, received: 0, sent: 0, unsent: 0, media_connected: true };
    let page = text(Page {
        sum,
        workers: 1,
        streams: Arc::default(),
        calls: Arc::default(),
        records: None,
        limiter: Arc::default(),
        unwritten: false,
        reloads: Arc::default(),
        lost_lines: 0,
        now_ns: NOW,
    })
    .expect("text");
    has(&page, r#"moorline_sip_forward_seconds_bucket{le="0.01",message="invite"} 0"#);
    has(&page, r#"moorline_sip_forward_seconds_bucket{le="0.02",message="invite"} 1"#);
    has(&page, r#"moorline_sip_added_seconds_bucket{le="0.005",step="invite"} 1"#);
    has(&page, r#"moorline_sip_forward_seconds_bucket{le="0.00005",message="answer"} 1"#);
    has(&page, r#"moorline_sip_forward_seconds_bucket{le="0.00002",message="other"} 1"#);
}

#[test]
fn workers_are_added_up() {
    let worker = |attempts: u64| {
        let mut statistics = Statistics::new();
        statistics.attempts(NOW, attempts);
        statistics.observe(NOW, Observation::Answered { invited_at: NOW });
        statistics.observe(NOW, ended(Outcome::Cancelled));
        statistics.handed_over = 2;
        let counters = Counters { calls: attempts, ..Counters::default() };
        Snapshot { counters, statistics, received: 3, sent: 4, unsent: 1, media_connected: attempts == 3 }
    };
    let mut sum = worker(3);
    sum.merge(&worker(5));
    let page = text(Page {
        sum,
        workers: 2,
        streams: Arc::default(),
        calls: Arc::default(),
        records: None,
        limiter: Arc::default(),
        unwritten: false,
        reloads: Arc::default(),
        lost_lines: 0,
        now_ns: NOW,
    })
    .expect("text");
    for line in [
        "moorline_sip_calls_total 8",
        "moorline_sip_busy_hour_attempts 8",
        "moorline_sip_answer_seizure_ratio 0.25",
        "moorline_sip_handed_over_total 4",
        "moorline_sip_media_connected 0",
        "moorline_sip_workers 2",
        r#"moorline_sip_received_total{transport="udp"} 6"#,
        r#"moorline_sip_sent_total{transport="tls"} 0"#,
        r#"moorline_sip_outcomes_total{outcome="cancelled",status=""} 2"#,
        "moorline_sip_invite_to_answer_seconds_count 2",
    ] {
        has(&page, line);
    }
}
