use moorline_b2bua::{Counters, Observation, Outcome};
use moorline_control::SessionId;

use super::{Snapshot, Statistics, text};

/// When everything is observed, in nanoseconds.
const NOW: u64 = 7_200_000_000_000;

fn page(observations: impl IntoIterator<Item = Observation>) -> String {
    let mut statistics = Statistics::new();
    observations.into_iter().for_each(|observation| statistics.observe(NOW, observation));
    let counters = Counters { messages: 7, calls: 2, calls_active: 1, ..Counters::default() };
    text(Snapshot { counters, statistics, unsent: 0, media_connected: true }).expect("a page")
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
