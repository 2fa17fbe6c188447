//! What the kernel counts of a socket.

use std::io;
use std::os::fd::AsFd;

use super::XskSocket;
use super::socket::get;

/// What the kernel counts of a socket, since it was made.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct XskStatistics {
    /// Packets dropped for another reason than those below, such as one that does not fit into a frame.
    pub dropped: u64,
    /// Packets dropped because the receive ring was full.
    pub ring_full: u64,
    /// Packets dropped because the fill ring was empty.
    pub fill_empty: u64,
    /// Entries of the fill ring that were none.
    pub invalid_fill: u64,
    /// Entries of the transmit ring that were none.
    pub invalid_transmit: u64,
}

impl XskSocket {
    /// What the kernel has counted.
    ///
    /// # Errors
    /// The kernel's reason.
    pub fn statistics(&self) -> io::Result<XskStatistics> {
        let none = libc::xdp_statistics {
            rx_dropped: 0,
            rx_invalid_descs: 0,
            tx_invalid_descs: 0,
            rx_ring_full: 0,
            rx_fill_ring_empty_descs: 0,
            tx_ring_empty_descs: 0,
        };
        let counted = get(self.as_fd(), libc::XDP_STATISTICS, none)?;
        Ok(XskStatistics {
            dropped: counted.rx_dropped,
            ring_full: counted.rx_ring_full,
            fill_empty: counted.rx_fill_ring_empty_descs,
            invalid_fill: counted.rx_invalid_descs,
            invalid_transmit: counted.tx_invalid_descs,
        })
    }
}
