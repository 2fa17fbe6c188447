//! What is said of the process, its calls and its trunks. The HTTP interface answers with the same.

use std::net::SocketAddr;
use std::sync::atomic::Ordering;

use moorline_b2bua::cdr::{Record, Time};
use moorline_b2bua::inspect::{CallState, CallView, TrunkReach};
use moorline_control::{SessionReport, StreamReport};
use serde::{Deserialize, Serialize};

use super::TrunkReply;
use crate::ListenerConfig;
use crate::cdr::RecordCounts;
use crate::reload::ConfigurationReply;

/// How the process is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct StatusReply {
    /// Of Moorline.
    pub version: String,
    /// The number of this host.
    pub node: u16,
    /// When it started.
    pub started: Time,
    /// For how long it has run.
    pub uptime_s: u64,
    /// Its threads that carry calls.
    pub workers: usize,
    /// It takes no new calls, as an operator wants.
    pub draining: bool,
    /// It takes no new calls, because they could not be written down.
    pub shut: bool,
    /// Its connection to the media process stands.
    pub media_connected: bool,
    /// The configuration in force.
    #[serde(default)]
    pub configuration: ConfigurationReply,
    /// Its calls.
    pub calls: CallCounts,
    /// Subscriptions outside calls.
    pub subscriptions: u64,
    /// Contacts of registered endpoints.
    pub bindings: u64,
    /// Addresses of trunks that are tried after all others for now.
    pub targets_resting: u64,
    /// Where it takes SIP.
    pub listeners: Vec<ListenerReply>,
    /// What becomes of call detail records, where they are kept.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub records: Option<RecordsReply>,
}

/// Calls.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct CallCounts {
    /// There are now.
    pub now: usize,
    /// The most there were at once since it started.
    pub peak: usize,
    /// Attempts since it started.
    pub attempts: u64,
    /// Those of them that were let in.
    pub admitted: u64,
    /// Those of them that were answered.
    pub answered: u64,
}

/// Where SIP is taken.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ListenerReply {
    /// Its name.
    pub listener: String,
    /// Its address.
    pub bind: SocketAddr,
}

/// What becomes of call detail records.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RecordsReply {
    /// The journal cannot be written, or is full.
    pub failing: bool,
    /// Steps of calls that found no room in it.
    pub lost: u64,
    /// Where they go from there.
    pub sinks: Vec<SinkReply>,
}

/// Where records go.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SinkReply {
    /// What it is.
    pub sink: String,
    /// It cannot take any now.
    pub failing: bool,
    /// Records that it has not taken yet.
    pub waiting: u64,
}

/// Whether new calls are taken.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct DrainReply {
    /// They are not.
    pub draining: bool,
    /// How many there still are.
    pub calls: usize,
}

/// A trunk: how it is reached, and its calls.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct TrunkState {
    /// How it is reached.
    #[serde(flatten)]
    pub reach: TrunkReach,
    /// Its account is in arrears.
    pub arrears: bool,
    /// How many of its users are.
    #[serde(default)]
    pub users_in_arrears: usize,
    /// Calls that have come from it and are up or being set up.
    pub calls_in: u32,
    /// Calls that were sent to it.
    pub calls_out: u32,
    /// A reload has taken it away: it is here until its calls have ended, and gets no new ones.
    #[serde(default)]
    pub leaving: bool,
}

/// A page of calls.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct CallsReply {
    /// The oldest first.
    pub calls: Vec<CallRow>,
    /// What to ask for the next page with; absent behind the last one. There may be calls behind an empty page.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub next: Option<String>,
}

/// A call in a list.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct CallRow {
    /// Its name.
    pub call: String,
    /// How far it has come.
    pub state: CallState,
    /// When its INVITE came.
    pub since: Time,
    /// How long ago that was.
    pub seconds: u64,
    /// The trunk that it came from.
    pub from: String,
    /// The trunk that it went to last; empty before it goes anywhere.
    pub to: String,
    /// Who calls, as it came.
    pub caller: String,
    /// Who is called, as it came.
    pub called: String,
    /// Who is called, as it was sent on last; empty if it was not.
    pub called_sent: String,
}

/// A call.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct CallDetail {
    /// How far it has come.
    pub state: CallState,
    /// How long ago its INVITE came.
    pub seconds: u64,
    /// When it is ended at the latest as things stand: not answered, or as long as a call may last.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ends_in_s: Option<u64>,
    /// The session interval that was agreed on with the caller (RFC 4028).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub caller_session_s: Option<u32>,
    /// The same with the called side.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub callee_session_s: Option<u32>,
    /// Its call detail record, as far as it has come.
    pub record: Record,
    /// What the media process has received: from the caller, from the called side, of each its streams.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub media: Option<Vec<Vec<StreamFigures>>>,
    /// Why the media process has not said so.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub media_fault: Option<String>,
}

/// One direction of a stream.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct StreamFigures {
    /// Where it comes from.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub source: Option<SocketAddr>,
    /// Its codec by the SDP's name, once something has come.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub codec: Option<String>,
    /// Its payload type.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub payload_type: Option<u8>,
    /// RTP packets.
    pub packets: u64,
    /// Their bytes, RTP headers included.
    pub bytes: u64,
    /// Packets that were sent and did not come.
    pub lost: u64,
    /// Packets that came from elsewhere, or were not to be relayed.
    pub refused: u64,
    /// Interarrival jitter (RFC 3550), in microseconds.
    pub jitter_us: u32,
    /// The mean opinion score that the E-model estimates.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mos: Option<f32>,
}

/// A call that was ended.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct HungUpReply {
    /// Its name.
    pub call: String,
}

impl From<&ListenerConfig> for ListenerReply {
    fn from(config: &ListenerConfig) -> ListenerReply {
        ListenerReply { listener: config.name.clone(), bind: config.bind }
    }
}

impl From<&RecordCounts> for RecordsReply {
    fn from(counts: &RecordCounts) -> RecordsReply {
        let ended = counts.journal.records.load(Ordering::Relaxed);
        let sinks = counts.sinks.iter().map(|sink| SinkReply {
            sink: sink.name.to_owned(),
            failing: sink.is_failing(),
            waiting: sink.waiting(ended),
        });
        RecordsReply {
            failing: counts.journal.failing.load(Ordering::Relaxed) > 0,
            lost: counts.journal.lost.load(Ordering::Relaxed),
            sinks: sinks.collect(),
        }
    }
}

impl TrunkState {
    pub(super) fn of(reach: TrunkReach, limits: Option<&TrunkReply>) -> TrunkState {
        TrunkState {
            reach,
            arrears: limits.is_some_and(|limits| limits.arrears),
            users_in_arrears: limits.map_or(0, |limits| limits.users_in_arrears),
            calls_in: limits.map_or(0, |limits| limits.inbound.calls),
            calls_out: limits.map_or(0, |limits| limits.outbound.calls),
            leaving: false,
        }
    }

    /// A trunk that is not configured any more, and still has calls.
    pub(super) fn leaving(limits: &TrunkReply, listener: String) -> TrunkState {
        let trunk = limits.trunk.clone();
        let reach = TrunkReach { trunk, listener, targets: Vec::new(), registration: None };
        TrunkState { leaving: true, ..TrunkState::of(reach, Some(limits)) }
    }
}

impl CallRow {
    pub(super) fn of(view: &CallView, now: Time) -> CallRow {
        let record = &view.record;
        CallRow {
            call: record.id.clone(),
            state: view.state,
            since: record.setup,
            seconds: seconds(record.setup, now),
            from: record.caller.trunk.clone(),
            to: record.callee.trunk.clone(),
            caller: record.caller_number.clone(),
            called: record.called_number.clone(),
            called_sent: record.called_number_sent.clone(),
        }
    }
}

impl CallDetail {
    pub(super) fn of(view: CallView, now: Time, media: Result<Vec<Vec<StreamFigures>>, String>) -> CallDetail {
        let CallView { state, ends_in_ms, session_s: [caller_session_s, callee_session_s], record } = view;
        let (media, media_fault) = match media {
            Ok(media) => (Some(media), None),
            Err(fault) => (None, Some(fault)),
        };
        CallDetail {
            state,
            seconds: seconds(record.setup, now),
            ends_in_s: ends_in_ms.map(|ms| ms / 1000),
            caller_session_s,
            callee_session_s,
            record,
            media,
            media_fault,
        }
    }
}

fn seconds(since: Time, now: Time) -> u64 {
    u64::try_from((now.unix_ms - since.unix_ms) / 1000).unwrap_or_default()
}

pub(super) fn media_legs(report: &SessionReport) -> Vec<Vec<StreamFigures>> {
    report.legs.iter().map(|streams| streams.iter().map(StreamFigures::from).collect()).collect()
}

impl From<&StreamReport> for StreamFigures {
    fn from(stream: &StreamReport) -> StreamFigures {
        StreamFigures {
            source: stream.source,
            codec: stream.payload_type.map(|_| stream.codec.as_str().to_owned()),
            payload_type: stream.payload_type,
            packets: stream.packets,
            bytes: stream.bytes,
            lost: stream.lost,
            refused: stream.refused,
            jitter_us: stream.jitter_us,
            mos: stream.quality.map(|quality| f32::from(quality.mos_hundredths) / 100.0),
        }
    }
}
