//! What a record says beyond the attributes of RFC 2866, in Cisco's: each column of the tables as a `Cisco-AVPair`, and the
//! times and the called side's address as gateways write them.

use jiff::SignedDuration;
use jiff::civil::date;
use moorline_b2bua::cdr::{Record, Stage, Time, Try};
use moorline_b2bua::radius::{Cisco, MAX_VENDOR_VALUE};

use super::super::columns::{COLUMNS, row};
use super::cut;

/// Columns that a request says by other attributes, and those of which nothing more is to be known from here.
const SAID: [&str; 16] = [
    "id",
    "setup",
    "answer",
    "end_time",
    "caller_number",
    "called_number",
    "account",
    "caller_call_id",
    "caller_packets",
    "caller_bytes",
    "callee_packets",
    "callee_bytes",
    "tries",
    "failed_tries",
    "bypassed",
    "setup_unix_ms",
];

/// Figures that say nothing before media has come, of which of both sides.
const OF_MEDIA: [(&str, usize); 4] =
    [("caller_lost", 0), ("caller_jitter_us", 0), ("callee_lost", 1), ("callee_jitter_us", 1)];

/// The attributes of a record at a stage.
pub(super) fn attributes(record: &Record, stage: Stage) -> Vec<(Cisco, Vec<u8>)> {
    let times = [
        (Cisco::SetupTime, Some(record.setup)),
        (Cisco::ConnectTime, record.answer),
        (Cisco::DisconnectTime, record.end.filter(|_| stage == Stage::Ended)),
    ];
    let mut told: Vec<(Cisco, Vec<u8>)> =
        times.into_iter().filter_map(|(kind, time)| Some((kind, clock(time?).into_bytes()))).collect();
    if let Some(callee) = record.callee.signaling {
        told.push((Cisco::RemoteAddress, callee.ip().to_string().into_bytes()));
    }
    let mut pair = |name: &str, value: &str| {
        // One attribute is one line wherever it is written.
        let text = format!("{name}={value}").replace(char::is_control, " ");
        told.push((Cisco::AvPair, cut(&text, MAX_VENDOR_VALUE)));
    };
    for ((name, _), value) in COLUMNS.iter().zip(row(record)) {
        if let Some(value) = value.filter(|_| is_told(name, record, stage)) {
            pair(name, &value);
        }
    }
    if record.bypassed {
        pair("bypassed", "1");
    }
    // Of one alone the columns of the called side say all.
    if record.tries.len() > 1 {
        record.tries.iter().for_each(|tried| pair("try", &attempt(tried)));
    }
    told
}

fn is_told(name: &str, record: &Record, stage: Stage) -> bool {
    let packets = [record.caller.media.packets, record.callee.media.packets];
    let early = OF_MEDIA.iter().any(|(figure, side)| *figure == name && packets[*side] == 0);
    let duration = name == "duration_ms" && !matches!(stage, Stage::Going | Stage::Ended);
    !(SAID.contains(&name) || early || duration)
}

/// `486 udp 192.0.2.1:5060 carrier: Busy Here`; `-` for what there is not.
fn attempt(Try { trunk, address, transport, code, reason, .. }: &Try) -> String {
    let code = code.map_or_else(|| "-".into(), |code| code.to_string());
    let address = address.map_or_else(|| "-".into(), |address| address.to_string());
    let reason = reason.as_deref().map(|reason| format!(": {reason}")).unwrap_or_default();
    format!("{code} {transport} {address} {trunk}{reason}")
}

/// A time as Cisco's gateways write it.
fn clock(time: Time) -> String {
    let time = date(1970, 1, 1).at(0, 0, 0, 0).saturating_add(SignedDuration::from_millis(time.unix_ms));
    time.strftime("%H:%M:%S%.3f UTC %a %b %d %Y").to_string()
}

#[cfg(test)]
mod tests;
