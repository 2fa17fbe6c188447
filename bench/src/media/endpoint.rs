//! The local sockets of one side.

use std::io;
use std::net::{IpAddr, SocketAddr, UdpSocket};

use nix::sys::socket::{setsockopt, sockopt};

/// An RTP socket and, beside it, perhaps an RTCP socket. Many calls share one endpoint.
///
/// Sockets stay in the network namespace in which they were made, so a caller that puts the two sides in
/// different namespaces binds each there.
#[derive(Debug)]
pub struct Endpoint {
    pub(crate) rtp: UdpSocket,
    pub(crate) rtcp: Option<UdpSocket>,
    address: SocketAddr,
}

impl Endpoint {
    /// Binds an even port on `ip`, and the next one for RTCP if wanted.
    pub fn bind(ip: IpAddr, rtcp: bool) -> io::Result<Endpoint> {
        let mut last = io::Error::new(io::ErrorKind::AddrInUse, "no even port with a free next one");
        for _ in 0..BIND_ATTEMPTS {
            let socket = UdpSocket::bind((ip, 0))?;
            let port = socket.local_addr()?.port();
            if port % 2 == 1 {
                continue;
            }
            if !rtcp {
                return Endpoint::from_sockets(socket, None);
            }
            match UdpSocket::bind((ip, port + 1)) {
                Ok(next) => return Endpoint::from_sockets(socket, Some(next)),
                Err(error) => last = error,
            }
        }
        Err(last)
    }

    /// Another one at the same address.
    pub(crate) fn beside(&self) -> io::Result<Endpoint> {
        Endpoint::bind(self.address.ip(), self.rtcp.is_some())
    }

    /// Uses sockets that are bound already.
    pub fn from_sockets(rtp: UdpSocket, rtcp: Option<UdpSocket>) -> io::Result<Endpoint> {
        for socket in std::iter::once(&rtp).chain(&rtcp) {
            socket.set_nonblocking(true)?;
            setsockopt(socket, sockopt::ReceiveTimestampns, &true)?;
            // Room for pauses of this process. Above the system's limit only with the capability; what
            // the kernel grants is enough for small loads, and loss would show in the report.
            let _ = setsockopt(socket, sockopt::RcvBufForce, &BUFFER_BYTES)
                .or_else(|_| setsockopt(socket, sockopt::RcvBuf, &BUFFER_BYTES));
            let _ = setsockopt(socket, sockopt::SndBuf, &BUFFER_BYTES);
        }
        let address = rtp.local_addr()?;
        Ok(Endpoint { rtp, rtcp, address })
    }

    /// Where this endpoint receives RTP.
    pub fn address(&self) -> SocketAddr {
        self.address
    }
}

const BIND_ATTEMPTS: u32 = 64;

/// A quarter of a second of 25,000 packets per second, at about 1 KiB of kernel memory each.
const BUFFER_BYTES: usize = 8 * 1024 * 1024;
