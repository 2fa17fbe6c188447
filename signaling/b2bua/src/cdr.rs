//! Call detail records: what is said of each call attempt for charging, disputes and statistics.
//!
//! Every new INVITE that was let in makes one record, whatever becomes of it, and so does every call that a transfer makes
//! here. While the call lives its record is marked now and then ([`Mark`]); whoever writes marks down before the answers
//! of the same step leave can say, after a crash, what there was: see [`Input::Begun`](crate::Input::Begun).

mod kept;
mod time;

use std::net::SocketAddr;

use moorline_control::{LocalAddresses, StreamReport};
use serde::{Deserialize, Serialize};

use crate::Outcome;

pub(crate) use kept::Kept;
pub use time::Time;

/// The longest text of a record, in bytes: what parties say has no end otherwise.
const MAX_TEXT: usize = 256;

/// Tries that a record tells of; of more, the latest is told.
const MAX_TRIES: usize = 16;

/// A record at one step of its call.
#[derive(Debug, Clone, PartialEq)]
pub struct Mark {
    /// Which.
    pub stage: Stage,
    /// As it is at that step.
    pub record: Box<Record>,
}

/// How far the call of a record has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Stage {
    /// Admitted; the caller is about to hear 100.
    Begun,
    /// The called party rings.
    Ringing,
    /// The caller is about to hear of the answer.
    Answered,
    /// Still up.
    Going,
    /// Ended, but what was relayed is not known yet.
    Ending,
    /// All is said. It comes once for each record, and nothing comes after it.
    Ended,
}

/// What is known of a call attempt.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct Record {
    /// The name of the attempt, never used again; that of its call in logs and of its media session.
    pub id: String,
    /// The number of the host.
    pub node: u16,
    /// When its INVITE came.
    pub setup: Time,
    /// When the called party was first heard to ring, or to progress.
    pub ring: Option<Time>,
    /// When it was answered, if it was.
    pub answer: Option<Time>,
    /// When it ended.
    pub end: Option<Time>,
    /// From answer to end, in milliseconds. Where the host's clock was set meanwhile, this counts, not their difference.
    pub duration_ms: u64,
    /// Who ended it.
    pub ended_by: Option<EndedBy>,
    /// Why it ended: `caller_hung_up`, `callee_hung_up`, `media_timeout`, `no_ack`, `too_long`, `media_lost`, `expired`,
    /// `transferred`, `operator_hung_up`, `operator_cancelled` (before it was answered), `cancelled`, `refused` (by the called side), `rejected` (here), `signaling_lost`.
    pub cause: Option<String>,
    /// The Reason (RFC 3326) of the BYE or CANCEL that ended it.
    pub release_reason: Option<String>,
    /// Who calls: the user part of From, as it came and as it was sent.
    pub caller_number: String,
    /// The same, as the called side was shown it; empty if it never was.
    pub caller_number_sent: String,
    /// Who is called: the user part of the Request-URI, as it came and as it was sent.
    pub called_number: String,
    /// The same, as it was sent on last; empty if it never was.
    pub called_number_sent: String,
    /// Who is charged: the user who showed credentials, else the trunk that the call came from. For a call that a transfer
    /// was carried out by, the user or trunk of the party that has asked for it.
    pub account: String,
    /// The caller's leg.
    pub caller: Party,
    /// The called side's leg, of the party that was tried last or has answered.
    pub callee: Party,
    /// Where the INVITE went, in the order of sending.
    pub tries: Vec<Try>,
    /// Media went past this host.
    pub bypassed: bool,
    /// The call that a transfer has made this one of.
    pub transferred_from: Option<String>,
    /// The call that a transfer has made of this one.
    pub transferred_to: Option<String>,
}

/// One leg.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct Party {
    /// The name of its trunk.
    pub trunk: String,
    /// The user of a registered endpoint.
    pub user: Option<String>,
    /// Its Call-ID.
    pub call_id: String,
    /// The final answer that this leg saw: what the caller was told, what the called side said.
    pub code: Option<u16>,
    /// Its reason phrase.
    pub reason: Option<String>,
    /// Where its signaling comes from or goes to.
    pub signaling: Option<SocketAddr>,
    /// Over what: `udp`, `tcp`, `tls`.
    pub transport: String,
    /// What came of its media.
    #[serde(flatten)]
    pub media: Media,
}

/// The media that came from one party: of all its streams the packets and bytes, of the busiest the rest.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct Media {
    /// Where it came from.
    pub media: Option<SocketAddr>,
    /// Where it came to: the address that the party was shown.
    pub local_media: Option<SocketAddr>,
    /// RTP packets.
    pub packets: u64,
    /// Their bytes, RTP headers included.
    pub bytes: u64,
    /// Packets that were sent and did not come.
    pub lost: u64,
    /// Interarrival jitter (RFC 3550), in microseconds.
    pub jitter_us: u32,
    /// The mean opinion score that the E-model estimates.
    pub mos: Option<f32>,
    /// The codec by its SDP name.
    pub codec: Option<String>,
    /// The payload type.
    pub payload_type: Option<u8>,
}

/// One INVITE to the called side.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct Try {
    /// The name of the trunk.
    pub trunk: String,
    /// Where it went.
    pub address: Option<SocketAddr>,
    /// Over what.
    pub transport: String,
    /// Its Call-ID.
    pub call_id: String,
    /// When it was sent.
    pub at: Time,
    /// The final answer to it; absent where there was none.
    pub code: Option<u16>,
    /// Its reason phrase, or what came in its place: `no answer`.
    pub reason: Option<String>,
}

/// Who ended a call.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum EndedBy {
    /// The caller: it hung up or cancelled.
    Caller,
    /// The called side: it hung up or refused.
    Callee,
    /// This host: it refused, or a limit or timer ran out.
    Moorline,
    /// An operator of this host.
    Operator,
}

impl EndedBy {
    /// As it is written.
    pub fn as_str(self) -> &'static str {
        match self {
            EndedBy::Caller => "caller",
            EndedBy::Callee => "callee",
            EndedBy::Moorline => "moorline",
            EndedBy::Operator => "operator",
        }
    }
}

impl Record {
    /// Notes that an INVITE was sent.
    pub(crate) fn tried(&mut self, attempt: Try) {
        if self.tries.len() >= MAX_TRIES {
            self.tries.pop();
        }
        self.callee = Party::of(&attempt);
        self.tries.push(attempt);
    }

    /// Notes that the INVITE with this Call-ID was answered.
    pub(crate) fn accepted(&mut self, at: Time, call_id: &str, code: Option<u16>, reason: &[u8]) {
        self.try_ended(call_id, code, reason);
        if let Some(found) = self.tries.iter().rev().find(|known| known.call_id == call_id) {
            self.callee = Party::of(found);
        }
        self.answer = Some(at);
    }

    /// Notes what came of the INVITE with this Call-ID.
    pub(crate) fn try_ended(&mut self, call_id: &str, code: Option<u16>, reason: &[u8]) {
        let last = self.tries.last().is_some_and(|last| last.call_id == call_id);
        let Some(found) = self.tries.iter_mut().rev().find(|known| known.call_id == call_id) else { return };
        // Who was given up for silence, and cancelled, says only that it was.
        if found.reason.is_some() {
            return;
        }
        found.code = code;
        found.reason = Some(text(reason));
        // A trunk that the call has gone on from does not speak for the next one.
        if last || (self.callee.code.is_none() && self.callee.trunk == found.trunk) {
            (self.callee.code, self.callee.reason) = (found.code, found.reason.clone());
        }
    }

    /// Notes how the call ended, the first time that it is told.
    pub(crate) fn ended(&mut self, at: Time, outcome: Outcome) {
        if self.cause.is_some() {
            return;
        }
        let (ended_by, cause) = match outcome {
            Outcome::CallerHungUp => (EndedBy::Caller, "caller_hung_up"),
            Outcome::CalleeHungUp => (EndedBy::Callee, "callee_hung_up"),
            Outcome::MediaTimeout => (EndedBy::Moorline, "media_timeout"),
            Outcome::NoAck => (EndedBy::Moorline, "no_ack"),
            Outcome::TooLong => (EndedBy::Moorline, "too_long"),
            Outcome::MediaLost => (EndedBy::Moorline, "media_lost"),
            Outcome::Expired => (EndedBy::Moorline, "expired"),
            Outcome::Transferred => (EndedBy::Moorline, "transferred"),
            Outcome::OperatorHungUp => (EndedBy::Operator, "operator_hung_up"),
            Outcome::OperatorCancelled => (EndedBy::Operator, "operator_cancelled"),
            Outcome::Cancelled => (EndedBy::Caller, "cancelled"),
            Outcome::Refused(_) => (EndedBy::Callee, "refused"),
            Outcome::Rejected(_) => (EndedBy::Moorline, "rejected"),
        };
        let cancelled = matches!(outcome, Outcome::Cancelled | Outcome::OperatorCancelled);
        if cancelled || matches!(outcome, Outcome::Refused(_) | Outcome::Rejected(_)) {
            // The called party may have answered, but the caller never heard of it.
            self.answer = None;
        }
        self.finish(at, ended_by, cause);
    }

    /// Notes that the process that carried the call is gone, and with it the call; `at` is its last sign of life.
    pub(crate) fn lost(&mut self, at: Time) {
        if self.cause.is_none() {
            self.finish(at.max(self.answer.or(self.ring).unwrap_or(self.setup)), EndedBy::Moorline, "signaling_lost");
        }
    }

    fn finish(&mut self, at: Time, ended_by: EndedBy, cause: &str) {
        self.end = Some(at);
        self.ended_by = Some(ended_by);
        self.cause = Some(cause.into());
        self.duration_ms = self.talk_ms(at);
    }

    /// How long it has been answered by then, in milliseconds.
    pub(crate) fn talk_ms(&self, at: Time) -> u64 {
        self.answer.map_or(0, |answer| u64::try_from(at.unix_ms - answer.unix_ms).unwrap_or_default())
    }
}

impl Party {
    fn of(attempt: &Try) -> Party {
        Party {
            trunk: attempt.trunk.clone(),
            call_id: attempt.call_id.clone(),
            code: attempt.code,
            reason: attempt.reason.clone(),
            signaling: attempt.address,
            transport: attempt.transport.clone(),
            ..Party::default()
        }
    }
}

impl Media {
    /// Notes the addresses that are known from the session descriptions.
    pub(crate) fn placed(&mut self, said: Option<SocketAddr>, local: Option<&LocalAddresses>) {
        self.media = said.or(self.media);
        let local = local.map(|local| SocketAddr::new(local.public(), local.rtp.port()));
        self.local_media = local.or(self.local_media);
    }

    /// Notes what was received from the party.
    pub(crate) fn received(&mut self, streams: &[StreamReport]) {
        let Some(main) = streams.iter().max_by_key(|stream| (stream.packets, stream.codec.is_speech())) else { return };
        self.packets = streams.iter().map(|stream| stream.packets).sum();
        self.bytes = streams.iter().map(|stream| stream.bytes).sum();
        self.lost = streams.iter().map(|stream| stream.lost).sum();
        self.jitter_us = main.jitter_us;
        self.mos = main.quality.map(|quality| f32::from(quality.mos_hundredths) / 100.0);
        self.media = main.source.or(self.media);
        self.payload_type = main.payload_type;
        self.codec = main.payload_type.map(|_| main.codec.as_str().to_owned());
    }
}

/// What a party said, as text of bounded length in one line.
pub fn text(bytes: &[u8]) -> String {
    let text = String::from_utf8_lossy(&bytes[..bytes.len().min(MAX_TEXT)]);
    text.replace(char::is_control, " ")
}

#[cfg(test)]
mod tests;
