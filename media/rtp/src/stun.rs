//! Recognising STUN (RFC 8489 section 5).

use crate::Fault;

const HEADER: usize = 20;
const MAGIC_COOKIE: [u8; 4] = [0x21, 0x12, 0xa4, 0x42];

/// A view of a STUN message's header.
#[derive(Debug, Clone, Copy)]
pub struct Stun<'a> {
    header: &'a [u8; HEADER],
    attributes: &'a [u8],
}

impl<'a> Stun<'a> {
    /// Checks a datagram: the two zero bits, the magic cookie, and the length.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn parse(datagram: &'a [u8]) -> Result<Self, Fault> {
        let (header, attributes) = datagram.split_first_chunk::<HEADER>().ok_or(Fault::Short)?;
        if header[0] >> 6 != 0 || header[4..8] != MAGIC_COOKIE {
            return Err(Fault::Version);
        }
        let length = usize::from(u16::from_be_bytes([header[2], header[3]]));
        if length % 4 != 0 || length != attributes.len() {
            return Err(Fault::Truncated);
        }
        Ok(Stun { header, attributes })
    }

    /// The message type: method and class.
    pub fn message_type(&self) -> u16 {
        u16::from_be_bytes([self.header[0], self.header[1]])
    }

    /// The 96-bit transaction id.
    pub fn transaction_id(&self) -> &'a [u8] {
        &self.header[8..]
    }

    /// The attributes, unparsed.
    pub fn attributes(&self) -> &'a [u8] {
        self.attributes
    }
}
