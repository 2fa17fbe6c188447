//! Whether a load went as it should, and what to look at if not.

use crate::load::{Failure, Plan, Report, Transport};

/// How much may go wrong.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct Thresholds {
    /// The share of the calls that may fail.
    pub failed: f64,
    /// The share of the packets that may be lost.
    pub loss: f64,
}

/// What is beyond the thresholds. Media that was changed, or that went to another call, has none.
pub fn faults(report: &Report, thresholds: &Thresholds) -> Vec<String> {
    let mut faults = Vec::new();
    let (attempted, failed) = (report.attempted, report.failures());
    if attempted == 0 {
        faults.push("no call was placed".to_owned());
    } else if f64::from(failed) / f64::from(attempted) > thresholds.failed {
        let share = percent(f64::from(failed) / f64::from(attempted));
        faults
            .push(format!("{failed} of {attempted} calls failed: {share}, allowed are {}", percent(thresholds.failed)));
    }
    if report.loss() > thresholds.loss {
        let share = percent(report.loss());
        faults.push(format!("{} packets were lost: {share}, allowed are {}", report.lost, percent(thresholds.loss)));
    }
    for (count, what) in [
        (report.corrupted, "packets arrived changed"),
        (report.crossed, "packets arrived in another call"),
        (report.wrong_source, "packets came from an address that no description names"),
        (report.duplicated, "packets arrived twice"),
    ] {
        if count > 0 {
            faults.push(format!("{count} {what}"));
        }
    }
    if report.has_media && report.packets_sent == 0 && report.completed > 0 {
        faults.push("no media was sent".to_owned());
    }
    faults
}

/// As [`faults`], and a rate that was not reached.
pub(super) fn step_faults(rate_per_s: f64, report: &Report, thresholds: &Thresholds) -> Vec<String> {
    let mut faults = faults(report, thresholds);
    // Where few calls are placed, the last one's moment decides.
    if report.attempted > 20 && report.rate_per_s() < rate_per_s * 0.95 {
        faults.push(format!("only {:.1} calls per second were placed", report.rate_per_s()));
    }
    faults
}

/// What to look at, in the order of likelihood.
pub fn advice(plan: &Plan, report: &Report) -> Vec<String> {
    let mut advice = Vec::new();
    let (target, callee) = (plan.sbc, plan.callee);
    let count = |is: &dyn Fn(&Failure) -> bool| -> u32 {
        report.failed.iter().filter(|(failure, _)| is(failure)).map(|(_, calls)| *calls).sum()
    };
    let statuses = |wanted: &[u16]| count(&|failure| failure.status.is_some_and(|status| wanted.contains(&status)));
    let refused = count(&|failure| failure.reason.contains("nobody listens"));
    let silent = count(&|failure| failure.reason == "no answer to INVITE");
    if refused > 0 {
        advice.push(format!(
            "nothing listens on {target} over {}: is the SBC running, and is this its address?",
            plan.transport
        ));
    } else if silent > 0 && report.answered == 0 {
        advice.push(format!(
            "{target} does not answer: an SBC is silent to strangers; is {} one of its peers' addresses?",
            plan.caller.ip()
        ));
    } else if !plan.uac_only && report.attempted > report.cancelled && report.reached == 0 {
        if report.strangers > 0 {
            advice.push(format!(
                "{} INVITEs reached {callee}, but match no call: does the SBC change the last digits? see --number",
                report.strangers
            ));
        } else {
            let over = if plan.transport == Transport::Tcp { " over TCP" } else { "" };
            advice.push(format!("the SBC never called {callee}{over}; is its route set?"));
        }
    }
    if statuses(&[401, 407]) > 0 {
        advice.push(match plan.credentials {
            None => "the SBC asks for credentials: give --user and --password".to_owned(),
            Some(_) => "the SBC does not accept the credentials".to_owned(),
        });
    }
    if statuses(&[403]) > 0 {
        advice.push(format!("403: the SBC does not let {} call; is it a peer of the SBC?", plan.caller.ip()));
    }
    if statuses(&[488, 415, 606]) > 0 {
        advice.push(format!("the SBC refuses the description: does it allow {}? see --codec", plan.codec.name()));
    }
    if statuses(&[480, 486, 503]) > 0 {
        advice.push("the SBC is at a limit of its own, or lost its route: compare with its logs".to_owned());
    }
    if count(&|failure| failure.reason.contains("answered, but not by the callee")) > 0 {
        advice.push("somebody else answered: for that, use --uac-only".to_owned());
    }
    if report.wrong_source > 0 {
        advice.push(
            "media comes from another address than its description names: NAT between, or a wrong SDP".to_owned(),
        );
    }
    if report.corrupted > 0 {
        advice.push(format!(
            "packets were changed: does the SBC transcode, or rewrite RTP headers? {} has to pass as it is",
            plan.codec.name()
        ));
    }
    if report.send_errors > 0 {
        advice.push(format!("this host refused to send {} packets: no route, or a full buffer", report.send_errors));
    }
    if report.has_media && !report.is_verified && report.packets_sent > 0 {
        advice.push("the far end does not echo: its media is counted, but loss and delay cannot be known".to_owned());
    }
    advice
}

/// Three digits or so.
pub(super) fn percent(share: f64) -> String {
    let value = share * 100.0;
    match value {
        0.0 => "0 %".to_owned(),
        ..0.01 => format!("{value:.4} %"),
        ..10.0 => format!("{value:.2} %"),
        _ => format!("{value:.1} %"),
    }
}
