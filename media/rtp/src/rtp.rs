//! An RTP packet (RFC 3550 section 5.1).

use crate::Fault;

const HEADER: usize = 12;

/// A view of an RTP packet.
#[derive(Debug, Clone, Copy)]
pub struct Rtp<'a> {
    header: &'a [u8; HEADER],
    csrcs: &'a [u8],
    extension: Option<Extension<'a>>,
    payload: &'a [u8],
    padding: u8,
}

/// The header extension (RFC 3550 section 5.3.1).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Extension<'a> {
    /// The 16 bits that the profile defines.
    pub profile: u16,
    /// The extension's words, as bytes.
    pub data: &'a [u8],
}

impl<'a> Rtp<'a> {
    /// Checks a datagram.
    ///
    /// # Errors
    /// What is wrong with it.
    #[inline]
    pub fn parse(datagram: &'a [u8]) -> Result<Self, Fault> {
        let (header, rest) = datagram.split_first_chunk::<HEADER>().ok_or(Fault::Short)?;
        let first = header[0];
        if first >> 6 != 2 {
            return Err(Fault::Version);
        }
        let (csrcs, rest) = rest.split_at_checked(usize::from(first & 0x0f) * 4).ok_or(Fault::Truncated)?;
        let (extension, rest) = if first & 0x10 == 0 { (None, rest) } else { split_extension(rest)? };
        let padding = if first & 0x20 == 0 {
            0
        } else {
            // The count includes itself, so a padded packet has at least one byte here.
            rest.last().copied().filter(|&count| count != 0).ok_or(Fault::Padding)?
        };
        let length = rest.len().checked_sub(usize::from(padding)).ok_or(Fault::Padding)?;
        let (payload, _) = rest.split_at_checked(length).ok_or(Fault::Padding)?;
        Ok(Rtp { header, csrcs, extension, payload, padding })
    }

    /// The payload type.
    #[inline]
    pub fn payload_type(&self) -> u8 {
        self.header[1] & 0x7f
    }

    /// The marker bit.
    #[inline]
    pub fn marker(&self) -> bool {
        self.header[1] & 0x80 != 0
    }

    /// The sequence number.
    #[inline]
    pub fn sequence(&self) -> u16 {
        u16::from_be_bytes([self.header[2], self.header[3]])
    }

    /// The timestamp.
    #[inline]
    pub fn timestamp(&self) -> u32 {
        u32::from_be_bytes([self.header[4], self.header[5], self.header[6], self.header[7]])
    }

    /// The synchronization source.
    #[inline]
    pub fn ssrc(&self) -> u32 {
        u32::from_be_bytes([self.header[8], self.header[9], self.header[10], self.header[11]])
    }

    /// The contributing sources, at most 15.
    pub fn csrcs(&self) -> impl ExactSizeIterator<Item = u32> + 'a {
        self.csrcs.as_chunks::<4>().0.iter().map(|word| u32::from_be_bytes(*word))
    }

    /// The header extension, where there is one.
    pub fn extension(&self) -> Option<Extension<'a>> {
        self.extension
    }

    /// The payload, without the padding.
    #[inline]
    pub fn payload(&self) -> &'a [u8] {
        self.payload
    }

    /// How many bytes of padding follow the payload.
    pub fn padding(&self) -> u8 {
        self.padding
    }
}

fn split_extension(rest: &[u8]) -> Result<(Option<Extension<'_>>, &[u8]), Fault> {
    let (&[p0, p1, l0, l1], rest) = rest.split_first_chunk().ok_or(Fault::Truncated)?;
    let words = usize::from(u16::from_be_bytes([l0, l1]));
    let (data, rest) = rest.split_at_checked(words * 4).ok_or(Fault::Truncated)?;
    Ok((Some(Extension { profile: u16::from_be_bytes([p0, p1]), data }), rest))
}
