//! Finding the next hop (RFC 3263): from a host name to an ordered list of transports and addresses.
//!
//! A [`Locator`] asks for records by [`LocatorEvent::Query`] and keeps what it was answered for as long as the
//! answer says, so that a call seldom waits for DNS. It is driven like the worker that owns it: call
//! [`Locator::locate`], [`Locator::answer`] or [`Locator::handle_timeout`], then [`Locator::poll_event`] until
//! it is empty.
//!
//! Which of the hops are worth trying is another question: [`Health`] answers it, from how they fared before.

mod cache;
mod health;
mod locator;
mod order;
mod records;
mod target;
mod walk;

pub use health::{Health, Rest};
pub use locator::{Located, Locator, LocatorEvent, Ticket};
pub use records::{Answer, Failure, Naptr, Query, RecordKind, Records, Srv};
pub use target::{Family, Hop, NotLocated, Target, Transports};

/// The most hops that are found for one target.
pub const MAX_HOPS: usize = 16;

#[cfg(test)]
mod tests;
