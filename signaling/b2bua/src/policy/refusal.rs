//! How policy refuses a call.

use std::sync::Arc;

/// What a caller hears that policy refuses.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refusal {
    /// The final answer's status, 400 to 699.
    pub status: u16,
    /// Its reason phrase.
    pub reason: Arc<str>,
    /// The announcement that is played first, by name.
    pub announcement: Option<Arc<str>>,
}

impl Refusal {
    /// One without an announcement.
    pub fn new(status: u16, reason: &str) -> Refusal {
        Refusal { status, reason: reason.into(), announcement: None }
    }
}
