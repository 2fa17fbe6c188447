//! The seam between the relay and the sockets of its shard.

use std::net::SocketAddr;

use crate::Offload;

/// A bound local port: a dense index below [`Config::max_endpoints`](crate::Config::max_endpoints), so that
/// a datapath can use it as a slot of its socket table. It is given out again after `unbind`, the longest
/// unused first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct EndpointId(pub u32);

/// The shard's sockets, bound and released on the relay's word.
pub trait Ports {
    /// Binds a UDP socket to `address`; its datagrams come to [`Relay::packet`](crate::Relay::packet) under
    /// `endpoint` from now on.
    ///
    /// # Errors
    /// Why it could not be bound; nothing is bound then.
    fn bind(&mut self, endpoint: EndpointId, address: SocketAddr) -> Result<(), BindError>;

    /// Releases the socket of `endpoint`, which is bound.
    fn unbind(&mut self, endpoint: EndpointId);

    /// What relays settled flows elsewhere, where anything does.
    fn offload(&mut self) -> Option<&mut dyn Offload> {
        None
    }
}

/// Why a local port could not be bound.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum BindError {
    /// Somebody outside this process holds the port: the relay tries another one.
    #[error("address in use")]
    AddressInUse,
    /// The process may open no more sockets.
    #[error("out of file descriptors")]
    OutOfDescriptors,
    /// Anything else, in the system's words.
    #[error("{0}")]
    System(String),
}
