//! What happened, line by line, as a ladder: the inside on the left, Moorline in the middle, the outside on the
//! right.

use std::fmt::Write as _;

use moorline_sip::{Index, StartLine};

use super::plan::MS;

/// How much of a run is written down.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Detail {
    /// Nothing.
    None,
    /// A line for each message and event.
    Ladder,
    /// The messages too.
    Messages,
}

pub(super) struct Trace {
    detail: Detail,
    out: String,
}

/// Which way a message goes, seen from its party.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Way {
    ToMoorline,
    FromMoorline,
}

impl Trace {
    pub(super) fn new(detail: Detail) -> Trace {
        Trace { detail, out: String::new() }
    }

    pub(super) fn finish(self) -> String {
        self.out
    }

    pub(super) fn note(&mut self, now: u64, note: impl FnOnce() -> String) {
        if self.detail > Detail::None {
            // Writing to a string does not fail.
            let _ = writeln!(self.out, "{:>11.3}  {}", now as f64 / MS as f64, note());
        }
    }

    /// A message between Moorline and a party on the side of `listener`.
    pub(super) fn message(&mut self, now: u64, listener: usize, party: &str, way: Way, bytes: &[u8], remark: &str) {
        if self.detail == Detail::None {
            return;
        }
        let summary = summary(bytes);
        let right = (way == Way::ToMoorline) == (listener == 0);
        let arrow = if right { "──>" } else { "<──" };
        let rung = format!("{arrow} {summary}{remark}");
        self.note(now, || match listener {
            0 => format!("{party:<12} {rung}"),
            _ => format!("{:<52} {rung} {party}", ""),
        });
        if self.detail == Detail::Messages {
            for line in String::from_utf8_lossy(bytes).lines() {
                let _ = writeln!(self.out, "{:>15}| {line}", "");
            }
        }
    }
}

/// A message in a few words.
fn summary(bytes: &[u8]) -> String {
    let mut index = Index::new();
    let Ok(message) = index.parse(bytes) else { return format!("{} bytes that are no message", bytes.len()) };
    let cseq = message.header(moorline_sip::Name::CSeq).map(String::from_utf8_lossy).unwrap_or_default();
    let sdp = if message.body().starts_with(b"v=0") { " +SDP" } else { "" };
    match message.start() {
        StartLine::Request { .. } => format!("{cseq}{sdp}"),
        StartLine::Response { status, .. } => format!("{status} ({cseq}){sdp}"),
    }
}
