//! What the snapshot of a call keeps of its record: enough for a record where nothing else was written down.

use minicbor::{Decode, Encode};

use super::{Record, Time};

/// The part of a record that the call itself cannot say again.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub(crate) struct Kept {
    #[n(0)]
    setup_ms: i64,
    #[n(1)]
    ring_ms: Option<i64>,
    #[n(2)]
    answer_ms: Option<i64>,
    #[n(3)]
    caller_number: String,
    #[n(4)]
    caller_number_sent: String,
    #[n(5)]
    called_number: String,
    #[n(6)]
    called_number_sent: String,
    #[n(7)]
    account: String,
    #[n(8)]
    transferred_from: Option<String>,
}

impl From<&Record> for Kept {
    fn from(record: &Record) -> Kept {
        Kept {
            setup_ms: record.setup.unix_ms,
            ring_ms: record.ring.map(|at| at.unix_ms),
            answer_ms: record.answer.map(|at| at.unix_ms),
            caller_number: record.caller_number.clone(),
            caller_number_sent: record.caller_number_sent.clone(),
            called_number: record.called_number.clone(),
            called_number_sent: record.called_number_sent.clone(),
            account: record.account.clone(),
            transferred_from: record.transferred_from.clone(),
        }
    }
}

impl Kept {
    /// The record again, as far as it was kept.
    pub(crate) fn into_record(self) -> Record {
        let time = |unix_ms| Time { unix_ms };
        Record {
            setup: time(self.setup_ms),
            ring: self.ring_ms.map(time),
            answer: self.answer_ms.map(time),
            caller_number: self.caller_number,
            caller_number_sent: self.caller_number_sent,
            called_number: self.called_number,
            called_number_sent: self.called_number_sent,
            account: self.account,
            transferred_from: self.transferred_from,
            ..Record::default()
        }
    }
}
