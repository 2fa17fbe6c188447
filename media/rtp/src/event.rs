//! A telephone event (RFC 4733 section 2.3).

/// What one packet says of an event.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TelephoneEvent {
    /// The event's code: 0 to 9 for the digits, 10 for `*`, 11 for `#`, 12 to 15 for A to D; others are no digits.
    pub code: u8,
    /// The event is over.
    pub end: bool,
    /// The tone's power in dBm0, without its sign.
    pub volume: u8,
    /// How long it has lasted, in timestamp units.
    pub duration: u16,
}

impl TelephoneEvent {
    /// Reads an RTP payload; `None` if it is shorter than an event. What follows the first is left alone: several events
    /// in a packet went out of use with RFC 2833.
    pub fn parse(payload: &[u8]) -> Option<TelephoneEvent> {
        let &[code, flags, d0, d1] = payload.first_chunk()?;
        let duration = u16::from_be_bytes([d0, d1]);
        Some(TelephoneEvent { code, end: flags & 0x80 != 0, volume: flags & 0x3f, duration })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_event_is_four_bytes() {
        let event = TelephoneEvent { code: 11, end: true, volume: 10, duration: 800 };
        assert_eq!(TelephoneEvent::parse(&[11, 0x8a, 3, 32]), Some(event));
        // The reserved bit says nothing.
        assert_eq!(TelephoneEvent::parse(&[11, 0xca, 3, 32, 9]), Some(event));
        let going_on = TelephoneEvent { end: false, ..event };
        assert_eq!(TelephoneEvent::parse(&[11, 0x0a, 3, 32]), Some(going_on));
        assert_eq!(TelephoneEvent::parse(&[11, 0x0a, 3]), None);
    }
}
