//! What crossed Moorline, judged from captures of both its sides: whether every packet of every call came
//! out once, unchanged, in order, from the right address, and in no other call.
//!
//! Calls are known from SIP: a header that crosses Moorline tells which INVITE on one side belongs to which
//! on the other, and the session descriptions tell the addresses of both legs. No figure of Moorline's own
//! is used here.

mod call;
mod flow;
mod packet;
mod pcap;
mod report;
mod stream;
mod unsignaled;
mod verify;

pub use packet::Datagram;
pub use pcap::{Capture, PcapError};
pub use report::{Direction, Limits, Tally, Verdict};
pub use stream::Segment;
pub use unsignaled::verify_media;
pub use verify::{Expectation, verify};

#[cfg(test)]
mod tests;
