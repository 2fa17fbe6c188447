//! What a hop is asked for by.

use std::net::IpAddr;

/// A local address, a remote one, and the media range that packets between them belong to: it tells the interface and
/// the traffic class.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) struct Key {
    pub(super) source: IpAddr,
    pub(super) destination: IpAddr,
    pub(super) range: u16,
}

impl Key {
    /// IPv4 addresses in their IPv4-mapped form (RFC 4291 2.5.5.2) are what they stand for.
    pub(super) fn new(source: IpAddr, destination: IpAddr, range: u16) -> Key {
        Key { source: source.to_canonical(), destination: destination.to_canonical(), range }
    }
}
