//! Lines and tokens as spans of the received bytes.

/// A range of the received bytes. Descriptions are at most 64 KiB, so 32 bits are ample.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Span {
    pub(crate) start: u32,
    pub(crate) end: u32,
}

impl Span {
    /// The empty span at `at`: a place to insert.
    pub(crate) fn empty(at: u32) -> Span {
        Span { start: at, end: at }
    }

    /// The bytes of this span. Spans are made from the same bytes, so the range is always inside.
    pub(crate) fn of(self, bytes: &[u8]) -> &[u8] {
        bytes.get(self.start as usize..self.end as usize).unwrap_or_default()
    }

    fn from_range(start: usize, end: usize) -> Span {
        Span { start: u32::try_from(start).unwrap_or(u32::MAX), end: u32::try_from(end).unwrap_or(u32::MAX) }
    }
}

/// One line: the whole of it, and the part without its line end.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Line {
    /// Counted from 1.
    pub(crate) number: u32,
    /// Without the line end.
    pub(crate) text: Span,
    /// With the line end, where there is one.
    pub(crate) whole: Span,
}

impl Line {
    /// The type letter and the value after `=`; `None` for a line of another shape.
    pub(crate) fn field(self, bytes: &[u8]) -> Option<(u8, Span)> {
        match self.text.of(bytes) {
            [letter, b'=', ..] => Some((*letter, Span { start: self.text.start + 2, end: self.text.end })),
            _ => None,
        }
    }
}

/// Splits into lines at CRLF and LF, and at a lone CR too: a reader further on that takes a CR for a
/// line end must not find a line there that was never examined here.
pub(crate) fn lines(bytes: &[u8]) -> impl Iterator<Item = Line> + '_ {
    let mut at = 0;
    let mut number = 0;
    std::iter::from_fn(move || {
        let rest = bytes.get(at..).filter(|rest| !rest.is_empty())?;
        let length = rest.iter().position(|b| matches!(b, b'\r' | b'\n')).unwrap_or(rest.len());
        let ending = match rest.get(length..) {
            Some([b'\r', b'\n', ..]) => 2,
            Some([_, ..]) => 1,
            _ => 0,
        };
        number += 1;
        let line =
            Line { number, text: Span::from_range(at, at + length), whole: Span::from_range(at, at + length + ending) };
        at += length + ending;
        Some(line)
    })
}

/// The parts of `span` between spaces and tabs.
pub(crate) fn tokens(bytes: &[u8], span: Span) -> impl DoubleEndedIterator<Item = Span> + '_ {
    let text = span.of(bytes);
    text.split(|b| is_blank(*b)).filter(|token| !token.is_empty()).map(move |token| {
        // The token lies in `text`: its offset is the distance between the two.
        let offset = token.as_ptr().addr() - text.as_ptr().addr();
        let start = span.start as usize + offset;
        Span::from_range(start, start + token.len())
    })
}

/// A decimal number of 16 bits: digits only, at least one.
pub(crate) fn number(digits: &[u8]) -> Option<u16> {
    if digits.is_empty() {
        return None;
    }
    digits.iter().try_fold(0u16, |value, digit| {
        let digit = digit.is_ascii_digit().then(|| u16::from(digit - b'0'))?;
        value.checked_mul(10)?.checked_add(digit)
    })
}

pub(crate) fn is_blank(byte: u8) -> bool {
    matches!(byte, b' ' | b'\t')
}

#[cfg(test)]
mod tests {
    use super::*;

    fn texts(bytes: &[u8]) -> Vec<&[u8]> {
        lines(bytes).map(|line| line.text.of(bytes)).collect()
    }

    #[test]
    fn every_line_end_is_a_line_end() {
        assert_eq!(texts(b"a\r\nb\nc\rd"), [&b"a"[..], b"b", b"c", b"d"]);
        assert_eq!(texts(b"a\r\r\nb\n\nc\n"), [&b"a"[..], b"", b"b", b"", b"c"]);
        assert!(texts(b"").is_empty());
    }

    #[test]
    fn whole_lines_tile_the_input() {
        let bytes = b"v=0\r\n\ns=-\rt";
        let joined: Vec<u8> = lines(bytes).flat_map(|line| line.whole.of(bytes).to_vec()).collect();
        assert_eq!(joined, bytes);
    }

    #[test]
    fn tokens_are_spans_of_the_input() {
        let bytes = b"m= audio\t9  x ";
        let found: Vec<&[u8]> = tokens(bytes, Span { start: 2, end: 14 }).map(|span| span.of(bytes)).collect();
        assert_eq!(found, [&b"audio"[..], b"9", b"x"]);
    }

    #[test]
    fn numbers_are_plain_digits_of_16_bits() {
        assert_eq!(number(b"65535"), Some(65535));
        assert_eq!(number(b"00007"), Some(7));
        for text in [&b""[..], b"65536", b"+1", b"-1", b"1 ", b"0x1", b"99999999999999999999"] {
            assert_eq!(number(text), None);
        }
    }
}
