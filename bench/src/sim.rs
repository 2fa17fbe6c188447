//! The whole-call simulator: random call flows through a real worker and a real relay, in virtual time,
//! between user agents of its own on both sides, some behind proxies, and a network that loses, doubles and reorders
//! datagrams, or breaks streams.
//!
//! `run` plays the run of one seed to its end and says what was wrong in it. The same seed gives the same run
//! always, so a failure is replayed by its number. What is to happen is drawn first (`plan`); `party` is a
//! user agent, `media` the media process, `network` what is on the way between; `world` plays it all.
//! `wire` looks at every message that Moorline sends, and `verdict` judges the run when it is over.

mod media;
mod network;
mod party;
mod plan;
mod random;
mod trace;
mod verdict;
mod wire;
mod world;

#[cfg(test)]
mod tests;

pub use trace::Detail;

/// Part of each identifier that a party makes, by the listener that it speaks to: what must not show on the
/// other side.
const SECRETS: [&str; 2] = ["qin", "qout"];

/// The networks of the parties, by listener.
const NETWORKS: [&str; 2] = ["192.0.2.", "198.51.100."];

/// What called numbers start with, by the listener behind which they are; the number of the call follows.
const NUMBERS: [&str; 2] = ["777", "555"];

/// What a run came to.
#[derive(Debug)]
pub struct Run {
    /// What was wrong, in the order in which it was found; empty if all was well.
    pub faults: Vec<String>,
    /// What was drawn, and every message and event; as much as was asked for.
    pub trace: String,
    /// How each call ended, for statistics over many runs.
    pub endings: Vec<&'static str>,
}

/// Plays the run of a seed.
pub fn run(seed: u64, detail: Detail) -> Run {
    let plan = plan::Plan::draw(seed);
    world::World::play(seed, plan, detail)
}

/// The command that shows the run of a seed.
pub fn replay(seed: u64) -> String {
    format!("cargo run -p moorline-bench -- sim --seed {seed} --trace")
}
