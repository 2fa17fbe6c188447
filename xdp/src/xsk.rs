//! AF_XDP sockets: packets of one queue of a network card, in memory that the process shares with the kernel.
//!
//! A [`Umem`] is that memory, cut into frames. Each [`XskSocket`] has one queue of one interface and four rings
//! through which frames change hands: fill (frames to receive into), receive, transmit and completion (frames that
//! have been sent). Sockets of one thread may share a [`Umem`], so that a frame received on one is sent on another
//! without a copy. A [`Frame`] is whoever holds it: it is moved to the kernel and comes back, and cannot be held
//! twice.
//!
//! Which packets come to a socket is decided by an XDP program on the interface. Everything here belongs to one
//! thread; once a socket is bound, nothing blocks.

mod error;
mod queues;
#[allow(unsafe_code)]
mod ring;
#[allow(unsafe_code)]
mod socket;
mod statistics;
#[allow(unsafe_code)]
mod umem;

pub use error::XskError;
pub use queues::queues;
pub use socket::{Binding, Flushed, Received, XskSocket, ZeroCopy, probe};
pub use statistics::XskStatistics;
pub use umem::{Frame, Umem, UmemPlan};

#[cfg(test)]
mod tests;
