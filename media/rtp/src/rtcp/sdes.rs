//! Source descriptions (RFC 3550 section 6.5).

/// A source description packet.
#[derive(Debug, Clone, Copy)]
pub struct Sdes<'a> {
    body: &'a [u8],
    chunks: u8,
}

/// One item of a chunk.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SdesItem<'a> {
    /// The source that the chunk describes.
    pub ssrc: u32,
    /// The item's type; 1 is CNAME.
    pub item_type: u8,
    /// The text, UTF-8 if the sender keeps to the RFC.
    pub text: &'a [u8],
}

impl<'a> Sdes<'a> {
    pub(super) fn new(body: &'a [u8], chunks: u8) -> Self {
        Sdes { body, chunks }
    }

    /// How many chunks the packet announces.
    pub fn chunks(&self) -> u8 {
        self.chunks
    }

    /// All items of all chunks; ends early where a chunk is cut off.
    pub fn items(&self) -> impl Iterator<Item = SdesItem<'a>> {
        Items { rest: self.body, chunks: self.chunks, ssrc: None }
    }
}

struct Items<'a> {
    rest: &'a [u8],
    /// Chunks not begun yet.
    chunks: u8,
    /// The chunk being read.
    ssrc: Option<u32>,
}

impl<'a> Iterator for Items<'a> {
    type Item = SdesItem<'a>;

    fn next(&mut self) -> Option<SdesItem<'a>> {
        loop {
            let Some(ssrc) = self.ssrc else {
                self.chunks = self.chunks.checked_sub(1)?;
                let (ssrc, rest) = self.rest.split_first_chunk()?;
                self.ssrc = Some(u32::from_be_bytes(*ssrc));
                self.rest = rest;
                continue;
            };
            let (&item_type, rest) = self.rest.split_first()?;
            if item_type == 0 {
                // The end of a chunk is filled up with zeros to the next word of the packet; chunks begin on
                // a word, and the body is whole words, so what is left tells the position.
                self.rest = rest.get(rest.len() % 4..)?;
                self.ssrc = None;
                continue;
            }
            let (&length, rest) = rest.split_first()?;
            let (text, rest) = rest.split_at_checked(usize::from(length))?;
            self.rest = rest;
            return Some(SdesItem { ssrc, item_type, text });
        }
    }
}
