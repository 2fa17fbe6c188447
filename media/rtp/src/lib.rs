//! Checked views of RTP, RTCP and STUN datagrams, and the arithmetic of RFC 3550's appendix A.
//!
//! A view checks the lengths once, when it is parsed; after that its accessors cannot fail. Nothing here
//! allocates or copies.
#![no_std]
#![forbid(unsafe_code)]

#[cfg(test)]
extern crate std;

mod clock;
mod event;
mod fault;
mod jitter;
mod kind;
mod rtcp;
mod rtp;
mod sequence;
mod stun;

pub use clock::clock_rate;
pub use event::TelephoneEvent;
pub use fault::Fault;
pub use jitter::Jitter;
pub use kind::{Kind, kind};
pub use rtcp::{App, Bye, Packet, Packets, ReceiverReport, ReportBlock, Rtcp, Sdes, SdesItem, SenderReport};
pub use rtp::{Extension, Rtp};
pub use sequence::{Sequence, Step, is_newer};
pub use stun::Stun;

#[cfg(test)]
mod tests;
