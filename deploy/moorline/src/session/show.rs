//! What is known of the sessions that are open: `moorline session list` and `moorline session show ID`.

use std::fmt::Write as _;
use std::io::Write as _;
use std::process::ExitCode;

use moorline_control::{Listing, LocalAddresses, Quality, Refusal, Reply, Request, SessionReport, StreamReport};

use super::{Control, Error};
use crate::Outcome;
use crate::cli::{SessionListArgs, SessionShowArgs};

pub(crate) fn list(args: &SessionListArgs) -> Outcome {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        let (mut control, _) = Control::connect(args.control.as_deref(), "session-list").await?;
        let mut after = None;
        loop {
            let page = match control.ask(Request::List { after }).await? {
                Reply::Listed(page) => page,
                other => return Err(unexpected(&other)),
            };
            let mut out = std::io::stdout().lock();
            for listing in &page.sessions {
                writeln!(out, "{}", if args.json { listing_json(listing) } else { line(listing) })?;
            }
            after = page.sessions.last().map(|listing| listing.session);
            if !page.more || after.is_none() {
                return Ok(ExitCode::SUCCESS);
            }
        }
    })
}

pub(crate) fn show(args: &SessionShowArgs) -> Outcome {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        let (mut control, _) = Control::connect(args.control.as_deref(), "session-show").await?;
        let report = match control.ask(Request::Query { session: args.session }).await? {
            Reply::Report(report) => report,
            Reply::Refused(refusal) => return Err(refused(&refusal)),
            other => return Err(unexpected(&other)),
        };
        let text = if args.json { json(&report) } else { text(&report) };
        std::io::stdout().lock().write_all(text.as_bytes())?;
        Ok(ExitCode::SUCCESS)
    })
}

fn unexpected(reply: &Reply) -> Error {
    format!("unexpected answer: {reply:?}").into()
}

fn refused(refusal: &Refusal) -> Error {
    refusal.to_string().into()
}

/// A session's identifier, its local RTP addresses by leg, and whether a client owns it.
fn line(listing: &Listing) -> String {
    let mut line = listing.session.to_string();
    for local in listing.local.legs.iter().flatten() {
        match local {
            Some(local) => _ = write!(line, " {}", local.rtp),
            None => line.push_str(" -"),
        }
    }
    line.push_str(if listing.owned { " owned" } else { " leased" });
    line
}

/// For people.
fn text(report: &SessionReport) -> String {
    let mut text = format!("open {}\n", seconds(report.open_ms));
    for (leg, streams) in report.legs.iter().enumerate() {
        for (index, stream) in streams.iter().enumerate() {
            // Writing into a string does not fail.
            _ = writeln!(text, "leg {leg} stream {index}{}", described(stream));
            lines(stream).iter().for_each(|(name, value)| _ = writeln!(text, "  {name:<12}{value}"));
        }
    }
    text
}

fn described(stream: &StreamReport) -> String {
    let mut text = stream.source.map_or_else(String::new, |source| format!(" from {source}"));
    if let Some(payload_type) = stream.payload_type {
        _ = write!(text, ", {} ({payload_type})", stream.codec.as_str());
    }
    if let Some(ssrc) = stream.ssrc {
        _ = write!(text, ", SSRC {ssrc:08x} of {}", stream.sources);
    }
    text
}

fn lines(stream: &StreamReport) -> Vec<(&'static str, String)> {
    let StreamReport { packets, bytes, lost, reordered, duplicates, refused, rtcp_packets, .. } = stream;
    let share = 100.0 * *lost as f64 / packets.saturating_add(*lost).max(1) as f64;
    let mut lines = vec![
        ("received", format!("{packets} packets, {bytes} bytes; {refused} refused")),
        ("lost", format!("{lost} ({share:.2} %); {reordered} reordered, {duplicates} repeated")),
        ("jitter", milliseconds(stream.jitter_us)),
    ];
    if stream.gaps > 0 {
        let (packets, ms) = (stream.longest_gap_packets, stream.longest_gap_ms);
        lines.push(("gaps", format!("{}; longest {packets} packets, {ms} ms", stream.gaps)));
    }
    if let Some(quality) = stream.quality {
        lines.push(("quality", opinion(quality)));
    }
    if let Some(silence) = stream.silence {
        let (pauses, total, longest) = (silence.pauses, seconds(silence.total_ms), seconds(silence.longest_ms.into()));
        let (one_way, dtx) = (seconds(silence.one_way_ms), seconds(silence.dtx_ms));
        lines.push(("silence", format!("{pauses} pauses, {total}, longest {longest}; one-way {one_way}; DTX {dtx}")));
    }
    if let Some(dtmf) = stream.dtmf {
        let last = dtmf.last.map_or_else(String::new, |code| format!("; last {}", digit(code)));
        lines.push(("DTMF", format!("{} events, {} ms{last}", dtmf.events, dtmf.total_ms)));
    }
    if let Some(far_end) = stream.far_end {
        let share = 100.0 * f64::from(far_end.fraction_lost) / 256.0;
        let round_trip = far_end.round_trip_us.map_or_else(|| "unknown".to_owned(), milliseconds);
        let jitter = milliseconds(far_end.jitter_us);
        lines.push(("hears", format!("{} lost, {share:.1} % lately; jitter {jitter}", far_end.lost)));
        lines.push(("round trip", round_trip));
        if let Some(quality) = far_end.quality {
            lines.push(("hears", opinion(quality)));
        }
    }
    if let Some(played) = stream.played {
        let complete = if played.complete { ", to its end" } else { "" };
        lines
            .push(("played", format!("{}{complete}, in {} packets", seconds(played.played_ms.into()), played.packets)));
    }
    let goodbye = if stream.goodbyes > 0 { "; goodbye said" } else { "" };
    lines.push(("RTCP", format!("{rtcp_packets} packets{goodbye}")));
    lines
}

fn opinion(quality: Quality) -> String {
    let (mos, r) = (f64::from(quality.mos_hundredths) / 100.0, f64::from(quality.r_tenths) / 10.0);
    format!("MOS {mos:.2}, R {r:.1}, with {} ms from mouth to ear", quality.delay_ms)
}

fn digit(code: u8) -> char {
    b"0123456789*#ABCD".get(usize::from(code)).map_or('?', |digit| char::from(*digit))
}

fn seconds(ms: u64) -> String {
    format!("{:.1} s", ms as f64 / 1e3)
}

fn milliseconds(us: u32) -> String {
    format!("{:.1} ms", f64::from(us) / 1e3)
}

/// The same for programs, but for the client's snapshot, which is its own business.
fn listing_json(listing: &Listing) -> String {
    let legs =
        listing.local.legs.iter().map(|streams| array(streams.iter().map(|local| or_null(local.map(local_json)))));
    object(&[
        ("session", format!("\"{}\"", listing.session)),
        ("legs", array(legs)),
        ("owned", listing.owned.to_string()),
    ])
}

fn local_json(local: LocalAddresses) -> String {
    object(&[
        ("rtp", format!("\"{}\"", local.rtp)),
        ("rtcp", format!("\"{}\"", local.rtcp)),
        ("advertised", or_null(local.advertised.map(|address| format!("\"{address}\"")))),
    ])
}

/// For programs: the names of the control protocol's fields. All values are numbers, plain names and addresses, of which
/// nothing has to be escaped.
fn json(report: &SessionReport) -> String {
    let legs = report.legs.iter().map(|streams| array(streams.iter().map(stream_json)));
    let mut text = object(&[("open_ms", report.open_ms.to_string()), ("legs", array(legs))]);
    text.push('\n');
    text
}

fn stream_json(stream: &StreamReport) -> String {
    let far_end = stream.far_end.map(|far_end| {
        object(&[
            ("reports", far_end.reports.to_string()),
            ("fraction_lost", far_end.fraction_lost.to_string()),
            ("worst_fraction_lost", far_end.worst_fraction_lost.to_string()),
            ("lost", far_end.lost.to_string()),
            ("jitter_us", far_end.jitter_us.to_string()),
            ("round_trip_us", or_null(far_end.round_trip_us.map(|us| us.to_string()))),
            ("longest_round_trip_us", or_null(far_end.longest_round_trip_us.map(|us| us.to_string()))),
            ("quality", or_null(far_end.quality.map(quality_json))),
        ])
    });
    let dtmf = stream.dtmf.map(|dtmf| {
        object(&[
            ("events", dtmf.events.to_string()),
            ("total_ms", dtmf.total_ms.to_string()),
            ("last", or_null(dtmf.last.map(|code| code.to_string()))),
        ])
    });
    let silence = stream.silence.map(|silence| {
        object(&[
            ("pauses", silence.pauses.to_string()),
            ("longest_ms", silence.longest_ms.to_string()),
            ("total_ms", silence.total_ms.to_string()),
            ("one_way_ms", silence.one_way_ms.to_string()),
            ("noise_packets", silence.noise_packets.to_string()),
            ("dtx_ms", silence.dtx_ms.to_string()),
        ])
    });
    let played = stream.played.map(|played| {
        object(&[
            ("packets", played.packets.to_string()),
            ("played_ms", played.played_ms.to_string()),
            ("complete", played.complete.to_string()),
        ])
    });
    object(&[
        ("source", or_null(stream.source.map(|source| format!("\"{source}\"")))),
        ("codec", format!("\"{}\"", stream.codec.as_str())),
        ("payload_type", or_null(stream.payload_type.map(|number| number.to_string()))),
        ("ssrc", or_null(stream.ssrc.map(|ssrc| ssrc.to_string()))),
        ("sources", stream.sources.to_string()),
        ("packets", stream.packets.to_string()),
        ("bytes", stream.bytes.to_string()),
        ("lost", stream.lost.to_string()),
        ("reordered", stream.reordered.to_string()),
        ("duplicates", stream.duplicates.to_string()),
        ("refused", stream.refused.to_string()),
        ("gaps", stream.gaps.to_string()),
        ("longest_gap_ms", stream.longest_gap_ms.to_string()),
        ("longest_gap_packets", stream.longest_gap_packets.to_string()),
        ("jitter_us", stream.jitter_us.to_string()),
        ("rtcp_packets", stream.rtcp_packets.to_string()),
        ("goodbyes", stream.goodbyes.to_string()),
        ("quality", or_null(stream.quality.map(quality_json))),
        ("far_end", or_null(far_end)),
        ("dtmf", or_null(dtmf)),
        ("silence", or_null(silence)),
        ("played", or_null(played)),
    ])
}

fn quality_json(quality: Quality) -> String {
    object(&[
        ("r_tenths", quality.r_tenths.to_string()),
        ("mos_hundredths", quality.mos_hundredths.to_string()),
        ("delay_ms", quality.delay_ms.to_string()),
    ])
}

fn or_null(value: Option<String>) -> String {
    value.unwrap_or_else(|| "null".to_owned())
}

fn object(fields: &[(&str, String)]) -> String {
    let fields: Vec<String> = fields.iter().map(|(name, value)| format!("\"{name}\":{value}")).collect();
    format!("{{{}}}", fields.join(","))
}

fn array(values: impl Iterator<Item = String>) -> String {
    format!("[{}]", values.collect::<Vec<_>>().join(","))
}

#[cfg(test)]
mod tests;
