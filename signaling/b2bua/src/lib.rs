//! The back-to-back user agent, sans-IO: calls of two legs, the policy that routes them, and the snapshots
//! from which they come back after a restart.
//!
//! A [`Worker`] owns the calls of its virtual shards. It is driven like this, by whoever owns the sockets
//! and the clock:
//!
//! 1. [`Worker::handle`] one [`Input`] with the time now;
//! 2. [`Worker::poll_output`] until it is empty, carrying out each [`Output`];
//! 3. wait for the next input, or until [`Worker::next_timeout`], then handle [`Input::Timeout`].
//!
//! Time is nanoseconds from any fixed point, never going back.
#![forbid(unsafe_code)]

mod announcement;
mod attempt;
mod call;
pub mod cdr;
mod codecs;
mod dispatch;
mod edge;
mod extension;
mod forward;
mod identity;
pub mod inspect;
mod leg;
pub mod locate;
mod media;
mod news;
mod next_hop;
mod place;
pub mod policy;
pub mod radius;
mod registrar;
mod reliable;
mod seam;
mod secret;
mod session_timer;
mod snapshot;
mod subscription;
mod transfer;
pub mod verify;
mod wall;
mod worker;

pub use dispatch::Dispatch;
pub use edge::{Edge, Judgement, NewCalls, Overload, Reason};
pub use news::{News, Outbox};
pub use place::{Concurrency, Place};
pub use seam::{Entropy, Input, MediaInput, Observation, Outcome, Output};
pub use wall::{Local, Wall};
pub use worker::{Counters, Worker};
