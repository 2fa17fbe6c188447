//! Sockets that carry SIP.

pub(crate) mod streams;
pub(crate) mod tls;
pub(crate) mod udp;
