//! The UDP socket behind a local media port, the same for every datapath.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::ops::RangeInclusive;
use std::os::fd::OwnedFd;

use ipnet::IpNet;
use moorline_relay::BindError;
use nix::sys::socket::{setsockopt, sockopt};
use socket2::{Domain, Protocol, Socket, Type};

/// What the sockets of a media range have in common: those with an address of this network and one of these ports.
#[derive(Debug, Clone)]
pub(crate) struct MediaRange {
    pub(crate) network: IpNet,
    pub(crate) ports: RangeInclusive<u16>,
    /// They see packets of this interface only.
    pub(crate) interface: Option<String>,
    /// The differentiated services code point of what they send.
    pub(crate) dscp: u8,
}

impl MediaRange {
    /// The octet of the IP header that the code point is the upper six bits of (RFC 2474 section 3).
    pub(crate) fn traffic_class(&self) -> u8 {
        self.dscp << 2
    }
}

/// Room for about a second of a voice stream, or a burst of video, while the shard is away. The kernel caps
/// it at `net.core.rmem_max`. RTCP, on the odd ports, comes some packets a second and keeps the default.
const RECEIVE_BUFFER: usize = 256 * 1024;

/// Opens and binds a media socket.
pub(crate) fn open(address: SocketAddr, ranges: &[MediaRange]) -> Result<OwnedFd, BindError> {
    try_open(address, ranges).map(OwnedFd::from).map_err(|error| match error.raw_os_error() {
        Some(libc::EADDRINUSE) => BindError::AddressInUse,
        Some(libc::EMFILE | libc::ENFILE) => BindError::OutOfDescriptors,
        _ => BindError::System(format!("bind {address}: {error}")),
    })
}

fn try_open(address: SocketAddr, ranges: &[MediaRange]) -> io::Result<Socket> {
    let socket = Socket::new(Domain::for_address(address), Type::DGRAM.nonblocking(), Some(Protocol::UDP))?;
    // Bound to one IPv6 address, a socket hears nothing of IPv4, except on a mapped address (RFC 4291 2.5.5.2).
    if matches!(address.ip(), IpAddr::V6(ip) if ip.to_ipv4_mapped().is_some()) {
        socket.set_only_v6(true)?;
    }
    let own = |range: &&MediaRange| range.network.contains(&address.ip()) && range.ports.contains(&address.port());
    if let Some(range) = ranges.iter().find(own) {
        if let Some(interface) = &range.interface {
            socket.bind_device(Some(interface.as_bytes()))?;
        }
        match address.ip().to_canonical() {
            IpAddr::V4(_) => setsockopt(&socket, sockopt::Ipv4Tos, &range.traffic_class().into())?,
            IpAddr::V6(_) => setsockopt(&socket, sockopt::Ipv6TClass, &range.traffic_class().into())?,
        }
    }
    setsockopt(&socket, sockopt::ReceiveTimestampns, &true)?;
    // Costs nothing until the buffer overflows.
    setsockopt(&socket, sockopt::RxqOvfl, &1)?;
    if address.port().is_multiple_of(2) {
        socket.set_recv_buffer_size(RECEIVE_BUFFER)?;
    }
    bind(&socket, address)?;
    Ok(socket)
}

fn bind(socket: &Socket, address: SocketAddr) -> io::Result<()> {
    match socket.bind(&address.into()) {
        // An address that is not up yet can be bound: a floating IP of a standby host. The option matters to
        // the bind alone, so sockets of an address that is up do without.
        Err(error) if error.raw_os_error() == Some(libc::EADDRNOTAVAIL) => {
            match address.ip() {
                IpAddr::V4(_) => socket.set_freebind_v4(true)?,
                IpAddr::V6(_) => socket.set_freebind_v6(true)?,
            }
            socket.bind(&address.into())
        }
        bound => bound,
    }
}

#[cfg(test)]
mod tests {
    use nix::sys::socket::getsockopt;

    use super::*;

    #[test]
    fn a_port_in_use_is_told_from_other_failures() {
        let address: SocketAddr = "127.77.1.1:20000".parse().unwrap();
        let first = open(address, &[]).unwrap();
        assert_eq!(open(address, &[]).unwrap_err(), BindError::AddressInUse);
        drop(first);
        open(address, &[]).unwrap();
    }

    #[test]
    fn an_address_that_is_not_up_yet_can_be_bound() {
        open("192.0.2.77:20000".parse().unwrap(), &[]).unwrap();
        open("[2001:db8::77]:20000".parse().unwrap(), &[]).unwrap();
    }

    #[test]
    fn a_socket_of_an_ipv6_address_leaves_the_port_to_ipv4() {
        let first = open("[::1]:20777".parse().unwrap(), &[]).unwrap();
        open("127.0.0.1:20777".parse().unwrap(), &[]).unwrap();
        drop(first);
        open("[::ffff:127.0.0.1]:20778".parse().unwrap(), &[]).unwrap_err();
    }

    #[test]
    fn media_has_the_larger_buffer_and_both_ports_tell_time_and_loss() {
        let [rtp, rtcp] = ["127.77.1.2:20000", "127.77.1.2:20001"].map(|a| open(a.parse().unwrap(), &[]).unwrap());
        for socket in [&rtp, &rtcp] {
            assert!(getsockopt(socket, sockopt::ReceiveTimestampns).unwrap());
            assert_eq!(getsockopt(socket, sockopt::RxqOvfl).unwrap(), 1);
        }
        let fresh = Socket::new(Domain::IPV4, Type::DGRAM, None).unwrap();
        fresh.set_recv_buffer_size(RECEIVE_BUFFER).unwrap();
        assert_eq!(Socket::from(rtp).recv_buffer_size().unwrap(), fresh.recv_buffer_size().unwrap());
    }

    #[test]
    fn sockets_carry_the_code_point_of_their_range() {
        for (address, network) in [("127.77.3.1:20000", "127.77.3.0/24"), ("[::1]:20790", "::1/128")] {
            let range = MediaRange { network: network.parse().unwrap(), ports: 1..=65535, interface: None, dscp: 46 };
            let socket = open(address.parse().unwrap(), &[range]).unwrap();
            let tos = if address.starts_with('[') {
                getsockopt(&socket, sockopt::Ipv6TClass)
            } else {
                getsockopt(&socket, sockopt::Ipv4Tos)
            };
            assert_eq!(tos, Ok(0xb8));
        }
    }

    #[test]
    fn an_interface_that_is_not_there_is_named_with_the_address() {
        let network = "127.77.2.0/24".parse().unwrap();
        let ranges = [MediaRange { network, ports: 20000..=20010, interface: Some("none0".into()), dscp: 46 }];
        let error = open("127.77.2.1:20000".parse().unwrap(), &ranges).unwrap_err();
        assert!(matches!(&error, BindError::System(text) if text.contains("127.77.2.1:20000")), "{error:?}");
        open("127.77.2.1:20011".parse().unwrap(), &ranges).unwrap();
    }
}
