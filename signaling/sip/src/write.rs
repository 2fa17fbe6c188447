//! Writing messages.

use crate::lexical::{push_crlf, push_line};
use crate::{Message, Method, Name};

/// Builds a message: start line, header fields in the order given, body.
#[derive(Clone, Debug)]
#[must_use]
pub struct Writer {
    out: Vec<u8>,
}

/// Room for a message with an SDP body, so that it rarely grows.
const CAPACITY: usize = 1_500;

impl Writer {
    /// Starts a request.
    pub fn request(method: Method<'_>, uri: &[u8]) -> Writer {
        let mut out = Vec::with_capacity(CAPACITY);
        out.extend_from_slice(method.as_bytes());
        out.push(b' ');
        push_line(&mut out, uri);
        out.extend_from_slice(b" SIP/2.0\r\n");
        Writer { out }
    }

    /// Starts a response.
    pub fn response(status: u16, reason: &[u8]) -> Writer {
        let mut out = Vec::with_capacity(CAPACITY);
        out.extend_from_slice(b"SIP/2.0 ");
        push_number(&mut out, usize::from(status));
        out.push(b' ');
        push_line(&mut out, reason);
        out.extend_from_slice(b"\r\n");
        Writer { out }
    }

    /// Adds a header field. Line ends in the value become spaces, which unfolds it and keeps it from starting
    /// another. Content-Length is left out: [`finish`](Writer::finish) writes it.
    pub fn header(mut self, name: &str, value: impl AsRef<[u8]>) -> Writer {
        if !is_content_length(name.as_bytes()) {
            push_line(&mut self.out, name.as_bytes());
            self.out.extend_from_slice(b": ");
            push_line(&mut self.out, value.as_ref());
            self.out.extend_from_slice(b"\r\n");
        }
        self
    }

    /// Adds a [`HeaderLine::raw`](crate::HeaderLine::raw) byte for byte, but each line end as CRLF: what came with LF
    /// alone is not passed on so. Content-Length is left out.
    pub fn line(mut self, raw: &[u8]) -> Writer {
        let name = &raw[..crate::lexical::token_len(raw)];
        if !is_content_length(name) {
            push_crlf(&mut self.out, raw);
            if !raw.ends_with(b"\n") {
                self.out.extend_from_slice(b"\r\n");
            }
        }
        self
    }

    /// Adds all Record-Route lines of a request, in order: they belong into every response from 101 to 299 that may
    /// establish a dialog (RFC 3261 section 12.1.1).
    pub fn record_route(self, request: Message<'_>) -> Writer {
        let lines = request.lines().filter(|line| line.name == Name::RecordRoute);
        lines.fold(self, |writer, line| writer.line(line.raw))
    }

    /// Ends the header section with the Content-Length and adds the body.
    pub fn finish(mut self, body: &[u8]) -> Vec<u8> {
        self.out.extend_from_slice(b"Content-Length: ");
        push_number(&mut self.out, body.len());
        self.out.extend_from_slice(b"\r\n\r\n");
        self.out.extend_from_slice(body);
        self.out
    }

    /// Where [`respond`](crate::respond) splices.
    pub(crate) fn raw(&mut self) -> &mut Vec<u8> {
        &mut self.out
    }
}

/// Asked of every line that is written: most names are of another length.
fn is_content_length(name: &[u8]) -> bool {
    matches!(name.len(), 1 | 14) && Name::new(name) == Name::ContentLength
}

pub(crate) fn push_number(out: &mut Vec<u8>, number: usize) {
    let mut digits = [0; 20];
    let mut at = digits.len();
    let mut rest = number;
    loop {
        at -= 1;
        digits[at] = b'0' + (rest % 10) as u8;
        rest /= 10;
        if rest == 0 {
            break;
        }
    }
    out.extend_from_slice(&digits[at..]);
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Index;

    #[test]
    fn a_message_is_written_in_the_order_given() {
        let bytes = Writer::request(Method::Other(b"X"), b"sip:a@b")
            .header("B", "1")
            .line(b"a :  2\r\n  3\r\n")
            .line(b"C: no end")
            .finish(b"body");
        assert_eq!(bytes, b"X sip:a@b SIP/2.0\r\nB: 1\r\na :  2\r\n  3\r\nC: no end\r\nContent-Length: 4\r\n\r\nbody");
        assert_eq!(Writer::response(200, b"").finish(b""), b"SIP/2.0 200 \r\nContent-Length: 0\r\n\r\n");
    }

    #[test]
    fn lines_that_ended_in_lf_alone_end_in_crlf() {
        let bytes = Writer::response(200, b"OK").line(b"A: 1\n 2\r\n\t3\n\t\n").line(b"B: 1\r\n").finish(b"x\ny");
        assert_eq!(bytes, b"SIP/2.0 200 OK\r\nA: 1\r\n 2\r\n\t3\r\n\t\r\nB: 1\r\nContent-Length: 3\r\n\r\nx\ny");
    }

    #[test]
    fn the_length_is_the_bodys_whatever_the_caller_adds() {
        let bytes = Writer::response(200, b"OK").header("l", "7").line(b"content-length: 9\r\n").finish(b"abc");
        assert_eq!(bytes, b"SIP/2.0 200 OK\r\nContent-Length: 3\r\n\r\nabc");
    }

    #[test]
    fn record_routes_are_copied_in_order() {
        let request = Writer::request(Method::Invite, b"sip:a@b")
            .header("Record-Route", "<sip:p3;lr>, <sip:p2;lr;x=\"a, b\">")
            .header("Route", "<sip:p4;lr>")
            .line(b"record-route :  <sip:p1;lr>\r\n\t;y\r\n")
            .finish(b"");
        let mut index = Index::new();
        let request = index.parse(&request).unwrap();
        assert_eq!(
            Writer::response(180, b"Ringing").record_route(request).finish(b""),
            b"SIP/2.0 180 Ringing\r\nRecord-Route: <sip:p3;lr>, <sip:p2;lr;x=\"a, b\">\r\n\
              record-route :  <sip:p1;lr>\r\n\t;y\r\nContent-Length: 0\r\n\r\n"
        );
    }

    #[test]
    fn a_line_end_in_a_value_starts_no_header() {
        let bytes = Writer::request(Method::Invite, b"sip:a\r\nX: 1")
            .header("Subject", "a\r\nEvil: 1\r\n\r\nb\nc\rd")
            .finish(b"");
        let mut index = Index::new();
        let message = index.parse(&bytes).unwrap();
        assert_eq!(message.header(Name::Subject), Some(&b"a  Evil: 1    b c d"[..]));
        assert_eq!(message.lines().count(), 2);
    }

    #[test]
    fn numbers() {
        for number in [0, 9, 10, 65_535, usize::MAX] {
            let mut out = Vec::new();
            push_number(&mut out, number);
            assert_eq!(out, number.to_string().into_bytes());
        }
    }
}
