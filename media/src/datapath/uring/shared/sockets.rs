//! The sockets that a shard shares among all its ports: one for each IP version to receive by, and raw ones to
//! send by.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use nix::sys::socket::{getsockopt, setsockopt, sockopt};
use socket2::{Domain, Protocol, SockFilter, Socket, Type};

use crate::datapath::MediaRange;

/// Room for 80 ms of 100,000 packets/s, of some 800 bytes each with what the kernel adds; it counts double. Forced
/// above `net.core.rmem_max`, which CAP_NET_ADMIN allows.
const RECEIVE_BUFFER: usize = 8 << 20;
/// What is on its way through the interface's queue counts against this.
const SEND_BUFFER: usize = 4 << 20;

/// The socket that the lookup program hands packets to. Its own address is one of loopback, where nobody sends.
pub(super) fn receiver(v6: bool) -> io::Result<Socket> {
    let socket = Socket::new(domain(v6), Type::DGRAM.nonblocking(), Some(Protocol::UDP))?;
    setsockopt(&socket, sockopt::ReceiveTimestampns, &true)?;
    setsockopt(&socket, sockopt::RxqOvfl, &1)?;
    setsockopt(&socket, sockopt::RcvBufForce, &RECEIVE_BUFFER)?;
    let at = if v6 {
        socket.set_only_v6(true)?;
        setsockopt(&socket, sockopt::Ipv6OrigDstAddr, &true)?;
        IpAddr::from(Ipv6Addr::LOCALHOST)
    } else {
        setsockopt(&socket, sockopt::Ipv4OrigDstAddr, &true)?;
        Ipv4Addr::LOCALHOST.into()
    };
    bind(&socket, at)?;
    Ok(socket)
}

/// The socket that sends what has one of these addresses as its source; with none, any. Bound to it, because rules of
/// routing may look at the source, and the kernel does not look into headers that it is given.
pub(super) fn sender(range: &MediaRange, v6: bool, address: Option<IpAddr>) -> io::Result<Socket> {
    let protocol = Protocol::from(libc::IPPROTO_RAW);
    let socket = Socket::new(domain(v6), Type::RAW.nonblocking(), Some(protocol))?;
    // It would keep what strangers send with its protocol's number, which nobody reads: this keeps nothing.
    socket.attach_filter(&[SockFilter::new((libc::BPF_RET | libc::BPF_K) as u16, 0, 0, 0)])?;
    setsockopt(&socket, sockopt::SndBufForce, &SEND_BUFFER)?;
    if let Some(interface) = &range.interface {
        socket.bind_device(Some(interface.as_bytes()))?;
    }
    // The header says it by itself; queues and rules of routing go by what the socket says.
    let traffic_class = i32::from(range.traffic_class());
    if v6 {
        setsockopt(&socket, sockopt::Ipv6TClass, &traffic_class)?;
        socket.set_header_included_v6(true)?;
    } else {
        setsockopt(&socket, sockopt::Ipv4Tos, &traffic_class)?;
        socket.set_header_included_v4(true)?;
    }
    if let Some(address) = address {
        bind(&socket, address)?;
    }
    Ok(socket)
}

/// The socket that sends frames of this traffic class. It is bound to no protocol, and so receives nothing.
pub(super) fn packet(traffic_class: u8) -> io::Result<Socket> {
    let socket = Socket::new(Domain::PACKET, Type::RAW.nonblocking(), None)?;
    setsockopt(&socket, sockopt::SndBufForce, &SEND_BUFFER)?;
    // The kernel knows by heart which priority a traffic class has in queues: an IP socket is told.
    let told = Socket::new(Domain::IPV4, Type::DGRAM, None)?;
    setsockopt(&told, sockopt::Ipv4Tos, &i32::from(traffic_class))?;
    setsockopt(&socket, sockopt::Priority, &getsockopt(&told, sockopt::Priority)?)?;
    Ok(socket)
}

/// Binds to an address that need not be up yet.
fn bind(socket: &Socket, address: IpAddr) -> io::Result<()> {
    match address {
        IpAddr::V4(_) => socket.set_freebind_v4(true)?,
        IpAddr::V6(_) => socket.set_freebind_v6(true)?,
    }
    socket.bind(&SocketAddr::new(address, 0).into())
}

fn domain(v6: bool) -> Domain {
    if v6 { Domain::IPV6 } else { Domain::IPV4 }
}
