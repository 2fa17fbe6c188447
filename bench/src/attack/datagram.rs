//! IPv4 and UDP headers (RFC 791, RFC 768).

use std::net::SocketAddrV4;

const IP: usize = 20;
const UDP: usize = 8;

/// Room for any IPv4 packet of an Ethernet frame.
pub(super) const FRAME: usize = 1500;

/// What of a fragmented datagram travels in its first fragment, with the UDP header: a multiple of 8.
const FIRST_FRAGMENT: usize = 1008;

const MORE_FRAGMENTS: u16 = 0x2000;
const DONT_FRAGMENT: u16 = 0x4000;
const PROTOCOL_UDP: u8 = 17;

/// Writes a datagram as one packet and returns its length.
pub(super) fn whole(from: SocketAddrV4, to: SocketAddrV4, payload: &[u8], out: &mut [u8; FRAME]) -> usize {
    let body = UDP + payload.len();
    udp(from, to, payload, &mut out[IP..IP + body]);
    // The kernel numbers packets that have no identification, and fills in length and checksum.
    ip(from, to, 0, DONT_FRAGMENT, &mut out[..IP]);
    IP + body
}

/// Writes the two fragments of a datagram that is longer than the first one, and returns their lengths.
pub(super) fn halves(
    from: SocketAddrV4,
    to: SocketAddrV4,
    payload: &[u8],
    identification: u16,
    out: [&mut [u8; FRAME]; 2],
) -> [usize; 2] {
    let mut body = [0; 2 * FRAME];
    let body = &mut body[..UDP + payload.len()];
    udp(from, to, payload, body);
    let (one, two) = body.split_at(FIRST_FRAGMENT);
    let [first, second] = out;
    ip(from, to, identification, MORE_FRAGMENTS, &mut first[..IP]);
    first[IP..IP + one.len()].copy_from_slice(one);
    ip(from, to, identification, (FIRST_FRAGMENT / 8) as u16, &mut second[..IP]);
    second[IP..IP + two.len()].copy_from_slice(two);
    [IP + one.len(), IP + two.len()]
}

fn ip(from: SocketAddrV4, to: SocketAddrV4, identification: u16, fragment: u16, out: &mut [u8]) {
    out.fill(0);
    out[0] = 0x45;
    // Expedited forwarding, as media has it.
    out[1] = 46 << 2;
    out[4..6].copy_from_slice(&identification.to_be_bytes());
    out[6..8].copy_from_slice(&fragment.to_be_bytes());
    out[8] = 64;
    out[9] = PROTOCOL_UDP;
    out[12..16].copy_from_slice(&from.ip().octets());
    out[16..20].copy_from_slice(&to.ip().octets());
}

fn udp(from: SocketAddrV4, to: SocketAddrV4, payload: &[u8], out: &mut [u8]) {
    let length = (UDP + payload.len()) as u16;
    out[..2].copy_from_slice(&from.port().to_be_bytes());
    out[2..4].copy_from_slice(&to.port().to_be_bytes());
    out[4..6].copy_from_slice(&length.to_be_bytes());
    out[6..8].fill(0);
    out[UDP..].copy_from_slice(payload);
    let pseudo = sum(&from.ip().octets()) + sum(&to.ip().octets()) + u64::from(PROTOCOL_UDP) + u64::from(length);
    // 0 would say that there is no checksum.
    let checksum = match !fold(pseudo + sum(out)) {
        0 => 0xffff,
        checksum => checksum,
    };
    out[6..8].copy_from_slice(&checksum.to_be_bytes());
}

/// The sum of big-endian words of 16 bits, the last one padded.
fn sum(bytes: &[u8]) -> u64 {
    let words = bytes.chunks_exact(2);
    let last = words.remainder().first().map_or(0, |&last| u64::from(last) << 8);
    words.map(|word| u64::from(u16::from_be_bytes([word[0], word[1]]))).sum::<u64>() + last
}

fn fold(mut sum: u64) -> u16 {
    while sum > 0xffff {
        sum = (sum & 0xffff) + (sum >> 16);
    }
    sum as u16
}

#[cfg(test)]
mod tests {
    use super::*;

    fn is_valid(from: SocketAddrV4, to: SocketAddrV4, udp: &[u8]) -> bool {
        let pseudo = sum(&from.ip().octets()) + sum(&to.ip().octets()) + 17 + udp.len() as u64;
        fold(pseudo + sum(udp)) == 0xffff
    }

    #[test]
    fn checksums_are_right_for_every_length() {
        let (from, to) = ("192.0.2.9:4000".parse().unwrap(), "198.51.100.1:16384".parse().unwrap());
        for length in 0..64 {
            let mut out = [0; FRAME];
            let payload: Vec<u8> = (0..length).map(|at| at as u8 ^ 0xa5).collect();
            let total = whole(from, to, &payload, &mut out);
            assert_eq!(total, 28 + length);
            assert!(is_valid(from, to, &out[20..total]), "{length} bytes");
        }
    }

    #[test]
    fn fragments_make_the_datagram() {
        let (from, to) = ("192.0.2.9:4000".parse().unwrap(), "198.51.100.1:16384".parse().unwrap());
        let payload: Vec<u8> = (0..1600).map(|at| (at * 7) as u8).collect();
        let [mut one, mut two] = [[0; FRAME]; 2];
        let [first, second] = halves(from, to, &payload, 77, [&mut one, &mut two]);
        assert_eq!(one[4..6], two[4..6]);
        assert_eq!((one[6] & 0x20, usize::from(u16::from_be_bytes([two[6], two[7]])) * 8), (0x20, first - 20));
        let datagram = [&one[20..first], &two[20..second]].concat();
        assert_eq!(&datagram[8..], payload);
        assert!(is_valid(from, to, &datagram));
    }
}
