//! The raw socket by which forged packets leave, in batches.

use std::io::{self, IoSlice};
use std::net::SocketAddrV4;
use std::os::fd::{AsRawFd, OwnedFd};

use nix::errno::Errno;
use nix::sys::socket::{
    AddressFamily, ControlMessage, MsgFlags, MultiHeaders, SockFlag, SockProtocol, SockType, SockaddrIn, sendmmsg,
    setsockopt, socket, sockopt,
};

use super::Report;
use super::content::Carriage;
use super::datagram::{self, FRAME};
use crate::random::Random;

/// Packets per system call.
const BATCH: usize = 64;

/// Enough for many batches that wait in the link.
const SEND_BUFFER: usize = 4 * 1024 * 1024;

pub(super) struct Outlet {
    socket: OwnedFd,
    headers: MultiHeaders<SockaddrIn>,
    packets: Box<[[u8; FRAME]]>,
    lengths: [usize; BATCH],
    addresses: [Option<SockaddrIn>; BATCH],
    /// What each packet is for the report, once it has left.
    kinds: [Kind; BATCH],
    used: usize,
}

#[derive(Clone, Copy)]
enum Kind {
    /// A datagram, or its last fragment.
    Datagram,
    LoneFragment,
    /// Its datagram is counted with its last fragment.
    FirstOfTwo,
}

impl Outlet {
    pub(super) fn open() -> io::Result<Outlet> {
        // This protocol means that packets come with their IPv4 header.
        let socket = socket(AddressFamily::Inet, SockType::Raw, SockFlag::SOCK_CLOEXEC, SockProtocol::Raw)
            .map_err(|error| io::Error::new(io::Error::from(error).kind(), "a raw socket needs CAP_NET_RAW"))?;
        let _ = setsockopt(&socket, sockopt::SndBuf, &SEND_BUFFER);
        Ok(Outlet {
            socket,
            headers: MultiHeaders::preallocate(BATCH, None),
            packets: vec![[0; FRAME]; BATCH].into_boxed_slice(),
            lengths: [0; BATCH],
            addresses: [None; BATCH],
            kinds: [Kind::Datagram; BATCH],
            used: 0,
        })
    }

    /// Adds a datagram to the batch, which leaves when it is full.
    pub(super) fn put(
        &mut self,
        from: SocketAddrV4,
        to: SocketAddrV4,
        payload: &[u8],
        carriage: Carriage,
        random: &mut Random,
        report: &mut Report,
    ) {
        if self.used + 2 > BATCH {
            self.flush(report);
        }
        let address = Some(SockaddrIn::from(to));
        let at = self.used;
        if carriage == Carriage::Whole {
            self.lengths[at] = datagram::whole(from, to, payload, &mut self.packets[at]);
            (self.addresses[at], self.kinds[at]) = (address, Kind::Datagram);
            self.used += 1;
            return;
        }
        let identification = 1 + random.below(0xffff) as u16;
        let [one, two] = match &mut self.packets[at..at + 2] {
            [one, two] => [one, two],
            _ => return,
        };
        let lengths = datagram::halves(from, to, payload, identification, [one, two]);
        self.lengths[at..at + 2].copy_from_slice(&lengths);
        self.addresses[at..at + 2].fill(address);
        if carriage == Carriage::FirstHalf {
            self.kinds[at] = Kind::LoneFragment;
            self.used += 1;
        } else {
            self.kinds[at..at + 2].copy_from_slice(&[Kind::FirstOfTwo, Kind::Datagram]);
            self.used += 2;
        }
    }

    /// Sends what is in the batch.
    pub(super) fn flush(&mut self, report: &mut Report) {
        let Outlet { socket, headers, packets, lengths, addresses, kinds, used } = self;
        let mut from = 0;
        while from < *used {
            let slices: Vec<[IoSlice<'_>; 1]> = packets[from..*used]
                .iter()
                .zip(&lengths[from..*used])
                .map(|(packet, &length)| [IoSlice::new(&packet[..length])])
                .collect();
            let no_control: [ControlMessage<'_>; 0] = [];
            let to = &addresses[from..*used];
            let sent = sendmmsg(socket.as_raw_fd(), headers, &slices, to, no_control, MsgFlags::empty());
            match sent.map(Iterator::count) {
                Ok(sent) if sent > 0 => {
                    for kind in &kinds[from..from + sent] {
                        match kind {
                            Kind::Datagram => report.datagrams += 1,
                            Kind::LoneFragment => report.lone_fragments += 1,
                            Kind::FirstOfTwo => {}
                        }
                    }
                    from += sent;
                }
                Err(Errno::EINTR) => {}
                // The first of the rest was not taken; the next one may be.
                Ok(_) | Err(_) => {
                    report.refused += 1;
                    from += 1;
                }
            }
        }
        *used = 0;
    }
}
