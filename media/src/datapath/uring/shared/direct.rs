//! Sending past the kernel's routing: frames with all their headers, by packet sockets, to the next hop that the kernel
//! has named. Traffic control and captures on the interface see them; the firewall does not.

use std::net::SocketAddr;
use std::ops::Range;
use std::os::fd::OwnedFd;

use moorline_relay::EndpointId;

use super::{Addressed, NoWay, sum};
use crate::datapath::address::Name;
use crate::datapath::outward::NextHops;
use crate::datapath::outward::header::{Checksum, ETHERNET, ETHERTYPE_IPV4, ETHERTYPE_IPV6, Out, VLAN};
use crate::datapath::outward::ways::{Leaving, Ways};

pub(super) struct Direct {
    ways: Ways,
    /// The place in the file table of the packet socket of each code point (RFC 2474).
    files: [u32; CODE_POINTS],
    /// The time of the batch, of the monotonic clock.
    now: u64,
    sent: u64,
}

const CODE_POINTS: usize = 64;

impl Direct {
    /// Its sockets come behind `files`.
    pub(super) fn new(hops: NextHops, endpoints: usize, files: &mut Vec<OwnedFd>) -> Direct {
        let NextHops { sockets, hops, reader } = hops;
        let mut places = [0; CODE_POINTS];
        for (traffic_class, socket) in sockets {
            places[code_point(traffic_class)] = files.len() as u32;
            files.push(socket);
        }
        Direct { ways: Ways::new(hops, reader, endpoints), files: places, now: 0, sent: 0 }
    }

    /// How many packets were addressed, ever.
    pub(super) fn sent(&self) -> u64 {
        self.sent
    }

    /// A port of this media range is open, which sends from this address.
    pub(super) fn open(&mut self, port: EndpointId, range: usize, from: SocketAddr, traffic_class: u8) {
        self.ways.open(port, range as u16, from, traffic_class);
    }

    pub(super) fn close(&mut self, port: EndpointId) {
        self.ways.close(self.now, port);
    }

    /// A batch begins.
    #[inline]
    pub(super) fn begin(&mut self, now: u64) {
        self.now = now;
        self.ways.age(now);
    }

    #[inline]
    pub(super) fn expect(&self, port: EndpointId) {
        self.ways.expect(port);
    }

    /// Writes the headers of the datagram whose payload is `buffer[payload]`; `None` if the kernel has to send it.
    #[inline]
    pub(super) fn address(
        &mut self,
        buffer: &mut [u8],
        payload: Range<usize>,
        from: EndpointId,
        to: SocketAddr,
        id: u16,
    ) -> Result<Option<Addressed>, NoWay> {
        let (next, line) = match self.ways.next(self.now, from, to) {
            Leaving::By(next, line) => (next, line),
            Leaving::Kernel => return Ok(None),
            Leaving::Closed => return Err(NoWay::Closed),
        };
        let known = Checksum::Payload(buffer.get(payload.clone()).map_or(0, sum));
        let Some(frame) = (Out { next, line, id }).write(buffer, payload, known) else {
            // Longer than its path takes: the kernel cuts it, and what follows it must not come first.
            self.ways.went_by_kernel(self.now, from);
            return Ok(None);
        };
        self.sent += 1;
        let ethertype = if line.is_v6() { ETHERTYPE_IPV6 } else { ETHERTYPE_IPV4 };
        Ok(Some(Addressed {
            begin: frame.start,
            length: frame.len(),
            ip: frame.start + if next.vlan == 0 { ETHERNET } else { ETHERNET + VLAN },
            file: self.files[code_point(line.traffic_class)],
            name: Name::link(next.interface, ethertype),
        }))
    }
}

fn code_point(traffic_class: u8) -> usize {
    usize::from(traffic_class >> 2)
}
