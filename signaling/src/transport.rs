//! Sockets that carry SIP.

mod udp;

pub(crate) use udp::{Datagrams, UdpTransport};
