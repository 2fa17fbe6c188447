//! Attributes of Cisco's (vendor 9), which gateways of many makers write for what RFC 2866 has no attribute for.

use super::{MAX_PACKET, TooLong, attribute};

/// The longest value of one (RFC 2865 section 5.26).
pub const MAX_VENDOR_VALUE: usize = 247;

const VENDOR_SPECIFIC: u8 = 26;
const CISCO: u32 = 9;

/// Types and lengths of the two headers, and the vendor.
const OVERHEAD: usize = 8;

/// An attribute's type, by the names that FreeRADIUS has for them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum Cisco {
    /// `Cisco-AVPair`: `name=value`.
    AvPair = 1,
    /// `h323-remote-address`: the IP address of the called side's gateway.
    RemoteAddress = 23,
    /// `h323-setup-time`, such as `19:30:33.123 UTC Sun Nov 22 2026`, and so are the two that follow.
    SetupTime = 25,
    /// `h323-connect-time`.
    ConnectTime = 28,
    /// `h323-disconnect-time`.
    DisconnectTime = 29,
}

/// Appends these. Where there is no room for all, the longest are left out, and a `Cisco-AVPair` says `left_out=` and how many.
pub(super) fn append(packet: &mut Vec<u8>, attributes: &[(Cisco, Vec<u8>)]) -> Result<(), TooLong> {
    let room = MAX_PACKET.saturating_sub(packet.len());
    let mut by_length: Vec<usize> = (0..attributes.len()).collect();
    by_length.sort_by_key(|index| attributes[*index].1.len());
    let length = |indices: &[usize]| indices.iter().map(|index| OVERHEAD + attributes[*index].1.len()).sum::<usize>();
    let mut note = Vec::new();
    while !by_length.is_empty() && length(&by_length) + note.len() > room {
        by_length.pop();
        let left_out = attributes.len() - by_length.len();
        note.clear();
        one(&mut note, Cisco::AvPair, format!("left_out={left_out}").as_bytes())?;
    }
    by_length.sort_unstable();
    for index in by_length {
        let (kind, value) = &attributes[index];
        one(packet, *kind, value)?;
    }
    if packet.len() + note.len() <= MAX_PACKET {
        packet.extend(note);
    }
    Ok(())
}

fn one(packet: &mut Vec<u8>, kind: Cisco, value: &[u8]) -> Result<(), TooLong> {
    let mut vendors = CISCO.to_be_bytes().to_vec();
    attribute(&mut vendors, kind as u8, value)?;
    attribute(packet, VENDOR_SPECIFIC, &vendors)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pairs(lengths: &[usize]) -> Vec<(Cisco, Vec<u8>)> {
        lengths.iter().map(|length| (Cisco::AvPair, vec![b'x'; *length])).collect()
    }

    #[test]
    fn an_attribute_is_in_one_of_the_vendors() {
        let mut packet = Vec::new();
        append(&mut packet, &[(Cisco::RemoteAddress, b"192.0.2.1".to_vec())]).unwrap();
        assert_eq!(packet, [&[26, 17, 0, 0, 0, 9, 23, 11][..], b"192.0.2.1"].concat());
        packet.clear();
        append(&mut packet, &pairs(&[MAX_VENDOR_VALUE])).unwrap();
        assert_eq!((packet.len(), packet[1], packet[7]), (255, 255, 249));
        assert_eq!(append(&mut packet, &pairs(&[MAX_VENDOR_VALUE + 1])), Err(TooLong));
    }

    #[test]
    fn the_longest_are_left_out_where_there_is_no_room() {
        for used in [0, 20, 1000, MAX_PACKET - 20] {
            for many in [1, 16, 17, 40] {
                let mut lengths = vec![MAX_VENDOR_VALUE; many];
                lengths.insert(many / 2, 3);
                let mut packet = vec![0; used];
                append(&mut packet, &pairs(&lengths)).unwrap();
                assert!(packet.len() <= MAX_PACKET);
                let all = used + OVERHEAD + 3 + many * (OVERHEAD + MAX_VENDOR_VALUE);
                assert_eq!(packet.len() == all, all <= MAX_PACKET);
                let said = packet.windows(9).any(|window| window == b"left_out=");
                assert_eq!(said, all > MAX_PACKET, "{used} {many}");
            }
        }
    }
}
