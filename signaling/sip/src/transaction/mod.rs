//! Transactions: requests and responses carried reliably over what may lose them (RFC 3261 section 17, RFC 6026).
//!
//! The four machines are tables of their own; the [`Layer`] finds the one a message belongs to, runs its timers,
//! and does what its table says.

mod client;
mod derived;
mod entry;
mod id_hasher;
mod invite_client;
mod invite_server;
mod key;
mod layer;
mod machine;
mod receive;
mod server;
mod slab;
mod timer;

use std::hash::{DefaultHasher, Hasher};
use std::net::SocketAddr;
use std::sync::Arc;

use thiserror::Error;

use crate::{Message, Rport, Transport, Via};

pub use id_hasher::{IdHasher, IdMap, IdSet};
pub use layer::Layer;
pub use timer::Timers;

/// A path to a peer.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct Flow {
    /// The listener, by its number.
    pub listener: usize,
    /// What carries the messages.
    pub transport: Transport,
    /// The far side. Of a stream this is what names the connection: a peer that connected here has a port of its
    /// own choice.
    pub remote: SocketAddr,
    /// Whose the path is, where the address does not say: the far side has shown that, or the path was opened to it.
    pub identity: Option<Identity>,
}

impl Flow {
    /// The path to a peer who is known by its address.
    pub const fn new(listener: usize, transport: Transport, remote: SocketAddr) -> Flow {
        Flow { listener, transport, remote, identity: None }
    }
}

/// Who a peer is, whatever its address.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct Identity(u64);

impl Identity {
    /// The identity of the peer that has this name here. Two have the same one by the accident of a hash of 64 bits only.
    pub fn of(name: &str) -> Identity {
        let mut hasher = DefaultHasher::new();
        hasher.write(name.as_bytes());
        Identity(hasher.finish())
    }
}

/// Names a client transaction. It is never used again.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct ClientId(slab::Id);

/// Names a server transaction. It is never used again.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct ServerId(slab::Id);

/// What a received message turned out to be.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Received {
    /// A repetition, or something the layer has dealt with: nothing to do. A copy of a request that came on another
    /// path too is answered 482 (RFC 3261 section 8.2.2.2).
    Absorbed,
    /// A new request, to be answered by [`Layer::respond`].
    Request(ServerId),
    /// A CANCEL, which the layer has answered.
    Cancel {
        /// The INVITE it cancels, to be answered 487; `None` if there is none. Repetitions, and a CANCEL that
        /// comes after the final answer, are absorbed.
        invite: Option<ServerId>,
    },
    /// An ACK to a 2xx, for a dialog.
    Ack,
    /// A response for the user: a provisional, the first final one, or any 2xx to an INVITE, which is to be
    /// acknowledged each time it comes.
    Response(ClientId),
    /// A response to nothing that is known, or a message without what would be needed to match it. A 2xx to an
    /// INVITE may still belong to a dialog.
    Stray,
    /// A new request for which there was no room: the layer has answered it 503.
    Full,
}

/// What happened in the course of time.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Event {
    /// No final response came (timers B and F, or too long after a CANCEL). [`Event::ClientEnded`] follows.
    TimedOut(ClientId),
    /// The request could not be delivered, or its connection broke before the final response (RFC 3261 section
    /// 17.1.4). [`Event::ClientEnded`] follows.
    Unreachable(ClientId),
    /// No ACK to a failure came (timer H). [`Event::ServerEnded`] follows.
    NoAck(ServerId),
    /// The transaction is over.
    ClientEnded(ClientId),
    /// The transaction is over.
    ServerEnded(ServerId),
}

/// A message to send.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Transmit {
    /// To where.
    pub flow: Flow,
    /// The message; the transaction keeps it too.
    pub bytes: Arc<[u8]>,
    /// Whether it was sent before.
    pub retransmission: bool,
}

/// There are as many transactions as there may be.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Error)]
#[error("too many transactions")]
pub struct Full;

/// Where the responses to a request go (RFC 3261 section 18.2.2, RFC 3581 section 4): back to its source; but if
/// the client did not ask for that by `rport`, to the port of sent-by. The address is the source's in any case,
/// which is what `received` would say, and `maddr` is ignored: it would let a sender aim responses at others.
pub fn response_flow(flow: Flow, request: Message<'_>) -> Flow {
    request.via().map_or(flow, |via| response_flow_by(flow, via))
}

fn response_flow_by(flow: Flow, via: Via<'_>) -> Flow {
    if flow.transport.is_reliable() || via.rport != Rport::Absent {
        return flow;
    }
    let remote = SocketAddr::new(flow.remote.ip(), via.port.unwrap_or(key::DEFAULT_PORT));
    Flow { remote, ..flow }
}

#[cfg(test)]
mod tests;
