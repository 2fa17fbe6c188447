//! `[signaling.overload]`: what is done when more comes than can be served.

use std::time::Duration;

use moorline_b2bua::Overload;
use serde::Deserialize;

use super::fault::Faults;

/// Bounds at the transport's edge: `[signaling.overload]`. Calls that are up go on whatever comes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct OverloadConfig {
    /// The messages a second taken from one address that belongs to a trunk, by each worker that receives them; twice
    /// as many may come at once. What is above is dropped.
    pub messages_per_second_per_source: u32,
    /// The same for an address that belongs to nobody. It gets silence in any case: this bounds what that costs.
    pub messages_per_second_of_strangers: u32,
    /// The new calls admitted in a second by all workers together, where a second's calls may come at once; above it
    /// they are answered 503 with Retry-After. 0 sets no bound.
    pub new_calls_per_second: u32,
    /// A new call whose INVITE has waited longer than this to be looked at is answered 503 with Retry-After, in
    /// milliseconds. 0 sets no bound.
    pub longest_wait_ms: u32,
    /// The messages that may wait for a worker which others have received: above it new calls are answered 503, and
    /// other datagrams dropped, to be sent again.
    pub queue: usize,
    /// What the Retry-After of these answers says, in seconds.
    pub retry_after_s: u32,
}

impl Default for OverloadConfig {
    fn default() -> Self {
        OverloadConfig {
            messages_per_second_per_source: 50_000,
            messages_per_second_of_strangers: 50,
            new_calls_per_second: 0,
            longest_wait_ms: 400,
            queue: 4096,
            retry_after_s: 5,
        }
    }
}

/// The longest queue: 64 MiB of ordinary messages.
const MAX_QUEUE: usize = 65_536;

impl OverloadConfig {
    pub(super) fn check(&self, faults: &mut Faults) {
        for (key, value, meaning) in [
            ("messages_per_second_per_source", self.messages_per_second_per_source, "nobody would be heard"),
            (
                "messages_per_second_of_strangers",
                self.messages_per_second_of_strangers,
                "their silence could not be counted",
            ),
            ("retry_after_s", self.retry_after_s, "callers would come back at once"),
        ] {
            if value == 0 {
                faults.add(format!("overload.{key}"), format!("0: {meaning}"), "use 1 or more, or leave the key out");
            }
        }
        if !(1..=MAX_QUEUE).contains(&self.queue) {
            let problem = format!("{} is out of bounds", self.queue);
            faults.add("overload.queue", problem, format!("use 1 to {MAX_QUEUE}, or leave the key out"));
        }
    }

    pub(crate) fn bounds(&self) -> Overload {
        Overload {
            per_source: self.messages_per_second_per_source,
            per_stranger: self.messages_per_second_of_strangers,
            new_calls: self.new_calls_per_second,
            longest_wait_ns: Duration::from_millis(self.longest_wait_ms.into()).as_nanos() as u64,
            retry_after_s: self.retry_after_s,
        }
    }
}
