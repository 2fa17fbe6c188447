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
        Items { body: self.body, position: 0, chunks: self.chunks, ssrc: None }
    }
}

struct Items<'a> {
    body: &'a [u8],
    position: usize,
    /// Chunks not begun yet.
    chunks: u8,
    /// The chunk being read.
    ssrc: Option<u32>,
}

impl<'a> Iterator for Items<'a> {
    type Item = SdesItem<'a>;

    fn next(&mut self) -> Option<SdesItem<'a>> {
        loop {
            let rest = self.body.get(self.position..)?;
            let Some(ssrc) = self.ssrc else {
                self.chunks = self.chunks.checked_sub(1)?;
                self.ssrc = Some(u32::from_be_bytes(*rest.first_chunk()?));
                self.position += 4;
                continue;
            };
            let (&item_type, rest) = rest.split_first()?;
            if item_type == 0 {
                // The end of a chunk is filled up with zeros to the next word.
                self.position = (self.position + 1).next_multiple_of(4);
                self.ssrc = None;
                continue;
            }
            let (&length, rest) = rest.split_first()?;
            let text = rest.get(..usize::from(length))?;
            self.position += 2 + text.len();
            return Some(SdesItem { ssrc, item_type, text });
        }
    }
}
