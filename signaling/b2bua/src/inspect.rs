//! What operators are shown of a worker: plain data, copied out when it is asked for.
//!
//! Whoever asks does so in slices: [`Worker::call_keys`](crate::Worker::call_keys) copies a few bytes of each call, and
//! [`Worker::describe`](crate::Worker::describe) as many calls as it is asked for.

use std::net::SocketAddr;

use moorline_control::SessionId;
use serde::{Deserialize, Serialize};

use crate::cdr::{Record, Time};

/// A call, and its place among others: the older one comes first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct CallKey {
    /// When its INVITE came.
    pub setup: Time,
    /// The call.
    pub id: SessionId,
}

/// How far a call has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum CallState {
    /// The called side has not shown a sign of life yet.
    Connecting,
    /// The called side rings, or plays something.
    Ringing,
    /// It is refused, and the caller is told so by an announcement.
    Announcing,
    /// Answered.
    Up,
    /// Over; the last messages are on their way.
    Ending,
}

/// Which calls are wanted: all that fit everything that is said.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct CallFilter {
    /// One of its legs is this trunk's.
    pub trunk: Option<String>,
    /// A number of either party, as it came or as it was sent on, begins like this; a `+` in front does not matter.
    pub number: Option<String>,
    /// It has come so far; any call that is not ending, if nothing is said.
    pub state: Option<CallState>,
}

/// A call.
#[derive(Debug, Clone, PartialEq)]
pub struct CallView {
    /// How far it has come.
    pub state: CallState,
    /// How long it may go on as it is: ringing or announcing until it is given up, up until it has lasted as long as a call
    /// may.
    pub ends_in_ms: Option<u64>,
    /// The session intervals that were agreed on with the caller and with the called side (RFC 4028), in seconds.
    pub session_s: [Option<u32>; 2],
    /// Its record, as far as it has come.
    pub record: Record,
}

/// How a trunk is reached.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct TrunkReach {
    /// Its name.
    pub trunk: String,
    /// The listener that it is reached through.
    pub listener: String,
    /// Where its calls are sent, in order of preference.
    pub targets: Vec<TargetReach>,
    /// How the registration with it stands, where there is to be one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub registration: Option<RegistrationState>,
}

/// Where a trunk's calls are sent.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct TargetReach {
    /// As it is configured.
    pub target: String,
    /// Its addresses; none, where its name has not been looked up, or DNS knows none.
    pub hops: Vec<HopReach>,
}

/// An address that calls are sent to.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct HopReach {
    /// The address.
    pub address: SocketAddr,
    /// For how long it is tried after all others, because it answered 503, or nothing, or could not be connected to.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rests_ms: Option<u64>,
}

/// How a registration stands.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RegistrationState {
    /// The registrar has granted it, and it has not run out.
    pub registered: bool,
    /// When it runs out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expires_in_ms: Option<u64>,
    /// How often it has failed since it was granted last.
    pub failures: u32,
}

impl CallFilter {
    /// Whether a call is wanted.
    pub(crate) fn fits(&self, state: CallState, record: &Record) -> bool {
        let trunk = |name: &String| [&record.caller, &record.callee].iter().any(|party| party.trunk == *name);
        self.state.map_or(state != CallState::Ending, |wanted| wanted == state)
            && self.trunk.as_ref().is_none_or(trunk)
            && self.number.as_ref().is_none_or(|number| has_number(record, number))
    }
}

fn has_number(record: &Record, wanted: &str) -> bool {
    let bare = |number: &'_ str| -> String { number.strip_prefix('+').unwrap_or(number).to_owned() };
    let wanted = bare(wanted);
    let Record { caller_number, caller_number_sent, called_number, called_number_sent, .. } = record;
    let numbers = [caller_number, caller_number_sent, called_number, called_number_sent];
    numbers.into_iter().any(|number| !number.is_empty() && bare(number).starts_with(&wanted))
}
