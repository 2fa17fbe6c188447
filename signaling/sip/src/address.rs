//! Addresses as text: they stand in most header fields that we write.

use std::fmt::{self, Write as _};
use std::net::{IpAddr, Ipv4Addr, SocketAddr};

/// An address as it stands in a URI or a Via, such as `192.0.2.1:5060`, `[2001:db8::1]:5060` or `192.0.2.1`.
///
/// It is the text that the standard formatter makes; IPv4 addresses are written here, at a tenth of the cost.
#[derive(Clone, Copy)]
pub struct AddressText {
    bytes: [u8; LONGEST],
    length: usize,
}

/// The longest: an IPv6 address with a scope, in brackets, and a port.
const LONGEST: usize = "[ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff%4294967295]:65535".len();

impl AddressText {
    const EMPTY: AddressText = AddressText { bytes: [0; LONGEST], length: 0 };

    /// The text.
    pub fn as_bytes(&self) -> &[u8] {
        &self.bytes[..self.length]
    }

    /// The text.
    pub fn as_str(&self) -> &str {
        // It is ASCII.
        std::str::from_utf8(self.as_bytes()).unwrap_or_default()
    }

    fn push_v4(&mut self, address: Ipv4Addr) {
        for (at, octet) in address.octets().into_iter().enumerate() {
            if at > 0 {
                self.push(b'.');
            }
            self.push_number(octet.into());
        }
    }

    fn push_number(&mut self, number: u16) {
        let mut unit = 10_000;
        while unit > 1 {
            if number >= unit {
                self.push(b'0' + (number / unit % 10) as u8);
            }
            unit /= 10;
        }
        self.push(b'0' + (number % 10) as u8);
    }

    fn push(&mut self, byte: u8) {
        if let Some(place) = self.bytes.get_mut(self.length) {
            *place = byte;
            self.length += 1;
        }
    }
}

impl From<SocketAddr> for AddressText {
    fn from(address: SocketAddr) -> AddressText {
        let mut text = AddressText::EMPTY;
        match address {
            SocketAddr::V4(address) => {
                text.push_v4(*address.ip());
                text.push(b':');
                text.push_number(address.port());
            }
            // There is room for the longest.
            SocketAddr::V6(address) => drop(write!(text, "{address}")),
        }
        text
    }
}

impl From<IpAddr> for AddressText {
    fn from(address: IpAddr) -> AddressText {
        let mut text = AddressText::EMPTY;
        match address {
            IpAddr::V4(address) => text.push_v4(address),
            IpAddr::V6(address) => drop(write!(text, "{address}")),
        }
        text
    }
}

impl fmt::Write for AddressText {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        text.bytes().for_each(|byte| self.push(byte));
        Ok(())
    }
}

impl fmt::Display for AddressText {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl fmt::Debug for AddressText {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_read_as_the_standard_formatter_writes_them() {
        for octet in [0, 9, 10, 99, 100, 255] {
            for port in [0, 7, 10, 99, 100, 999, 1000, 5060, 9999, 10_000, 65_535] {
                let address = SocketAddr::from(([octet, 0, 200, octet], port));
                assert_eq!(AddressText::from(address).as_str(), address.to_string());
                assert_eq!(AddressText::from(address.ip()).to_string(), address.ip().to_string());
            }
        }
        for text in ["[::1]:5060", "[2001:db8::1]:1", "[::ffff:192.0.2.1]:65535"] {
            let address: SocketAddr = text.parse().unwrap();
            assert_eq!(AddressText::from(address).as_bytes(), text.as_bytes());
            assert_eq!(AddressText::from(address.ip()).as_str(), address.ip().to_string());
        }
        let longest = "[ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff%4294967295]:65535";
        assert_eq!(AddressText::from(longest.parse::<SocketAddr>().unwrap()).as_str(), longest);
    }
}
