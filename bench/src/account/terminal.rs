//! The account as a table for the terminal.

use std::fmt::Write as _;

use super::judge::percent;
use super::plot::{count, micros};
use super::{Account, Distribution};

/// A dozen lines or two; writing to a String cannot fail.
pub(super) fn table(account: &Account) -> String {
    let mut out = String::new();
    let calls = &account.calls;
    let _ = writeln!(
        out,
        "calls     {} attempted, {} answered, {} completed, {} failed{}",
        calls.attempted,
        calls.answered,
        calls.completed,
        calls.failed,
        if calls.cancelled > 0 { format!(", {} cancelled", calls.cancelled) } else { String::new() }
    );
    let _ = writeln!(
        out,
        "          {:.1} a second, {} at once at most, {} SIP retransmissions",
        calls.rate_per_s, calls.most_active, calls.retransmissions
    );
    for failure in &calls.failures {
        let status = failure.status.map_or_else(String::new, |status| format!("{status} "));
        let _ = writeln!(out, "          {} failed: {status}{}", failure.calls, failure.reason);
    }
    let times = &account.times;
    let _ = writeln!(out, "\n{:<32}{:>10}{:>10}{:>10}{:>10}{:>10}", "", "p50", "p90", "p99", "p99.9", "max");
    for (name, times) in [
        ("post-dial, INVITE to ringing", &times.post_dial),
        ("set-up, INVITE to 200", &times.setup),
        ("INVITE, caller to callee", &times.invite_transit),
        ("200, callee to caller", &times.answer_transit),
        ("release, BYE to 200", &times.release),
    ] {
        row(&mut out, name, times);
    }
    if let Some(media) = &account.media {
        row(
            &mut out,
            if account.plan.callee.is_some() { "audio, one way" } else { "audio, there and back" },
            &media.one_way,
        );
        let lost = if media.verified {
            format!("{} lost ({})", media.lost, percent(media.loss))
        } else {
            "not verified".into()
        };
        let _ = writeln!(
            out,
            "\naudio     {} packets sent, {} received, {lost}",
            media.packets_sent, media.packets_received
        );
        let _ = writeln!(
            out,
            "          {} reordered, {} twice, {} changed, {} of another call, {} from a wrong source",
            media.reordered, media.duplicated, media.corrupted, media.crossed, media.wrong_source
        );
        let _ = writeln!(
            out,
            "          jitter {} on average, {} in the worst stream",
            micros(media.jitter_us.round()),
            micros(media.jitter_max_us.round())
        );
        if media.rtcp_sent > 0 {
            let _ = writeln!(
                out,
                "RTCP      {} sent, {} received, {} wrong",
                media.rtcp_sent, media.rtcp_received, media.rtcp_wrong
            );
        }
        if media.foreign > 0 {
            let _ = writeln!(out, "          {} packets were the far end's own", media.foreign);
        }
    }
    spans(&mut out, account);
    for step in &account.ramp {
        let result = if step.clean { "clean".to_owned() } else { step.reasons.join("; ") };
        let _ = writeln!(
            out,
            "ramp      {:>8}/s  {:>7} calls  {:>6} failed  {:>9} lost  set-up p99 {:>8}  {result}",
            count(step.rate_per_s),
            step.attempted,
            step.failed,
            percent(step.loss),
            micros(step.setup_p99_us)
        );
    }
    if !account.ramp.is_empty() {
        let _ = match account.highest_clean_rate {
            Some(rate) => writeln!(out, "the highest clean rate was {} calls per second", count(rate)),
            None => writeln!(out, "no step was clean"),
        };
    }
    for (word, lines) in [("fault", &account.verdict.reasons), ("advice", &account.verdict.advice)] {
        for line in lines {
            let _ = writeln!(out, "{word:<9} {line}");
        }
    }
    let _ = writeln!(
        out,
        "{}{}",
        if account.verdict.passed { "passed" } else { "FAILED" },
        if account.interrupted { ", stopped early" } else { "" }
    );
    out
}

fn row(out: &mut String, name: &str, times: &Distribution) {
    if times.count > 0 {
        let [p50, p90, p99, p999, max] =
            [times.p50_us, times.p90_us, times.p99_us, times.p999_us, times.max_us].map(micros);
        let _ = writeln!(out, "{name:<32}{p50:>10}{p90:>10}{p99:>10}{p999:>10}{max:>10}");
    }
}

/// The lowest and the highest interval of what varies over time.
fn spans(out: &mut String, account: &Account) {
    let of = |values: Vec<f64>| {
        (values.iter().copied().fold(f64::INFINITY, f64::min), values.iter().copied().fold(0.0, f64::max))
    };
    let p99s: Vec<f64> =
        account.series.iter().filter(|point| point.one_way_max_us > 0.0).map(|point| point.one_way_p99_us).collect();
    if p99s.len() > 1 {
        let (low, high) = of(p99s);
        let _ = writeln!(out, "over time one-way p99 was between {} and {}", micros(low), micros(high));
    }
}
