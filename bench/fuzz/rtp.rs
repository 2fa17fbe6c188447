//! Any datagram to a media port: told apart, and read as each of the protocols that share it.
#![no_main]

use libfuzzer_sys::fuzz_target;
use moorline_rtp::{Packet, Rtcp, Rtp, Stun, TelephoneEvent, kind};

fuzz_target!(|datagram: &[u8]| {
    let _ = kind(datagram);
    if let Ok(rtp) = Rtp::parse(datagram) {
        let extension = rtp.extension().map_or(0, |extension| 4 + extension.data.len());
        let parts = 12 + 4 * rtp.csrcs().len() + extension + rtp.payload().len() + usize::from(rtp.padding());
        assert_eq!(parts, datagram.len(), "every byte belongs to one part");
        let _ = (rtp.payload_type(), rtp.marker(), rtp.sequence(), rtp.timestamp(), rtp.ssrc());
        assert_eq!(TelephoneEvent::parse(rtp.payload()).is_some(), rtp.payload().len() >= 4, "events have four bytes");
    }
    if let Ok(rtcp) = Rtcp::parse(datagram) {
        assert!(rtcp.packets().count() > 0, "a compound holds a packet");
        for packet in rtcp.packets() {
            match packet {
                Packet::Bye(bye) => _ = (bye.sources().count(), bye.reason()),
                Packet::App(app) => _ = (app.subtype(), app.ssrc(), app.name(), app.data()),
                Packet::SenderReport(report) => _ = format!("{report:?}"),
                Packet::ReceiverReport(report) => _ = format!("{report:?}"),
                Packet::Sdes(sdes) => _ = format!("{sdes:?}"),
                Packet::Other { .. } => {}
            }
        }
    }
    if let Ok(stun) = Stun::parse(datagram) {
        let _ = (stun.message_type(), stun.transaction_id(), stun.attributes());
    }
});
