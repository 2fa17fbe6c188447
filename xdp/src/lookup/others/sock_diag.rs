//! The list of UDP sockets that the kernel gives over netlink (`sock_diag(7)`). It finds the next piece of it by where
//! in its table the last one ended, so that it passes over none.

use std::collections::HashSet;
use std::io;
use std::net::SocketAddr;

use netlink_packet_core::{NLM_F_DUMP, NLM_F_REQUEST, NetlinkHeader, NetlinkMessage, NetlinkPayload};
use netlink_packet_sock_diag::SockDiagMessage;
use netlink_packet_sock_diag::constants::{AF_INET, AF_INET6, IPPROTO_UDP};
use netlink_packet_sock_diag::inet::{ExtensionFlags, InetRequest, SocketId, StateFlags};
use netlink_sys::Socket;
use netlink_sys::protocols::NETLINK_SOCK_DIAG;
use nix::sys::socket::{setsockopt, sockopt};
use nix::sys::time::TimeVal;

/// The kernel answers at once, if it does.
const PATIENCE: TimeVal = TimeVal::new(1, 0);

/// The local addresses of all bound sockets.
///
/// # Errors
/// The kernel cannot list them, or not in this way.
pub(super) fn bound(v6: bool) -> io::Result<HashSet<SocketAddr>> {
    let mut socket = Socket::new(NETLINK_SOCK_DIAG)?;
    socket.bind_auto()?;
    // From the kernel alone.
    socket.connect(&netlink_sys::SocketAddr::new(0, 0))?;
    setsockopt(&socket, sockopt::ReceiveTimeout, &PATIENCE)?;
    socket.send(&request(v6), 0)?;
    let mut bound = HashSet::new();
    loop {
        let (piece, _) = socket.recv_from_full()?;
        let mut rest = &piece[..];
        while !rest.is_empty() {
            let message = NetlinkMessage::<SockDiagMessage>::deserialize(rest).map_err(io::Error::other)?;
            rest = rest.get((message.header.length as usize).next_multiple_of(4)..).unwrap_or_default();
            match message.payload {
                NetlinkPayload::InnerMessage(SockDiagMessage::InetResponse(response)) => {
                    let own = response.header.socket_id;
                    bound.insert(SocketAddr::new(own.source_address.to_canonical(), own.source_port));
                }
                NetlinkPayload::Done(done) if done.code == 0 => return Ok(bound),
                // As where there is no `udp_diag`.
                NetlinkPayload::Done(done) => return Err(io::Error::from_raw_os_error(done.code.saturating_neg())),
                NetlinkPayload::Error(error) => return Err(error.to_io()),
                _ => {}
            }
        }
    }
}

/// Asks for all UDP sockets of an IP version.
fn request(v6: bool) -> Vec<u8> {
    let (family, socket_id) = if v6 { (AF_INET6, SocketId::new_v6()) } else { (AF_INET, SocketId::new_v4()) };
    let all = InetRequest {
        family,
        protocol: IPPROTO_UDP,
        extensions: ExtensionFlags::empty(),
        states: StateFlags::all(),
        socket_id,
    };
    let mut header = NetlinkHeader::default();
    header.flags = NLM_F_REQUEST | NLM_F_DUMP;
    let mut message = NetlinkMessage::new(header, SockDiagMessage::InetRequest(all).into());
    message.finalize();
    let mut bytes = vec![0; message.buffer_len()];
    message.serialize(&mut bytes);
    bytes
}

#[cfg(test)]
mod tests {
    use std::net::UdpSocket;

    use super::*;

    #[test]
    fn all_are_listed_whether_connected_or_not() {
        for (v6, address) in [(false, "127.79.12.1:0"), (true, "[::1]:0")] {
            let own: Vec<_> = (0..1000).map(|_| UdpSocket::bind(address).unwrap()).collect();
            own[0].connect(own[1].local_addr().unwrap()).unwrap();
            let bound = bound(v6).unwrap();
            assert!(own.iter().all(|own| bound.contains(&own.local_addr().unwrap())), "{address}");
        }
    }
}
