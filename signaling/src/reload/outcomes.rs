//! What reloads came to, and which configuration is in force.

use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::SystemTime;

use moorline_b2bua::cdr::Time;
use serde::{Deserialize, Serialize};

use super::ReloadReply;

/// The configuration in force.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ConfigurationReply {
    /// What it was read from: the file, also where that says something else by now.
    pub source: String,
    /// Since when it has been in force.
    pub since: Time,
    /// What has brought it.
    pub by: TakenOverBy,
}

/// What brings a configuration into force.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum TakenOverBy {
    /// The process has started with it.
    #[default]
    Start,
    /// A reload: the file said it then.
    Reload,
    /// A rollback: it is the one that was in force before.
    Rollback,
}

/// What a reload or a rollback can come to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Outcome {
    Applied,
    Refused,
    Unchanged,
}

impl Outcome {
    pub(crate) const ALL: [Outcome; 3] = [Outcome::Applied, Outcome::Refused, Outcome::Unchanged];

    /// As the label of a metric.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Outcome::Applied => "applied",
            Outcome::Refused => "refused",
            Outcome::Unchanged => "unchanged",
        }
    }
}

/// What reloads and rollbacks have come to since the process started; those that were only tried are not counted.
#[derive(Debug, Default)]
pub(crate) struct Reloads {
    counts: [AtomicU64; Outcome::ALL.len()],
    /// When the last one came to this, in milliseconds since 1970; 0 for never.
    last: [AtomicI64; Outcome::ALL.len()],
    in_force: Mutex<ConfigurationReply>,
}

impl Reloads {
    /// Of a process that starts with a configuration of this name.
    pub(super) fn new(source: String) -> Reloads {
        let in_force = ConfigurationReply { source, since: now(), by: TakenOverBy::Start };
        Reloads { in_force: Mutex::new(in_force), ..Reloads::default() }
    }

    /// Counts a reload or a rollback of a configuration of this name.
    pub(super) fn count(&self, reply: &ReloadReply, source: String, by: TakenOverBy) {
        let outcome = match (reply.applied, reply.refused.is_empty()) {
            (true, _) => Outcome::Applied,
            (false, false) => Outcome::Refused,
            (false, true) => Outcome::Unchanged,
        };
        let since = now();
        self.counts[outcome as usize].fetch_add(1, Ordering::Relaxed);
        self.last[outcome as usize].store(since.unix_ms, Ordering::Relaxed);
        if reply.applied {
            *self.in_force.lock().unwrap_or_else(PoisonError::into_inner) = ConfigurationReply { source, since, by };
        }
    }

    /// The configuration in force.
    pub(crate) fn in_force(&self) -> ConfigurationReply {
        self.in_force.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// How many there were, and when the last one was.
    pub(crate) fn of(&self, outcome: Outcome) -> (u64, Option<Time>) {
        let unix_ms = self.last[outcome as usize].load(Ordering::Relaxed);
        (self.counts[outcome as usize].load(Ordering::Relaxed), (unix_ms != 0).then_some(Time { unix_ms }))
    }
}

fn now() -> Time {
    let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    Time { unix_ms: i64::try_from(since.as_millis()).unwrap_or(i64::MAX) }
}
