//! Just enough reading of SIP (RFC 3261) for the two user agents, apart from Moorline's own parser.

use std::net::SocketAddr;

/// A received message.
#[derive(Debug)]
pub(crate) struct Message {
    pub(crate) start: Start,
    headers: Vec<(String, String)>,
    pub(crate) body: Vec<u8>,
}

#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Start {
    Request { method: String, uri: String },
    Response { status: u16, reason: String },
}

impl Message {
    pub(crate) fn parse(datagram: &[u8]) -> Option<Message> {
        let end = datagram.windows(4).position(|four| four == b"\r\n\r\n")?;
        let (head, rest) = datagram.split_at_checked(end + 4)?;
        let head = std::str::from_utf8(head).ok()?;
        let mut lines = head.trim_end().split("\r\n");
        let start = Start::parse(lines.next()?)?;
        let mut headers: Vec<(String, String)> = Vec::new();
        for line in lines {
            if line.starts_with([' ', '\t']) {
                let (_, value) = headers.last_mut()?;
                value.push(' ');
                value.push_str(line.trim());
            } else {
                let (name, value) = line.split_once(':')?;
                headers.push((long_name(name.trim()), value.trim().to_owned()));
            }
        }
        let mut message = Message { start, headers, body: Vec::new() };
        let length = match message.header("Content-Length") {
            Some(length) => length.parse().ok()?,
            None => rest.len(),
        };
        message.body = rest.get(..length)?.to_vec();
        Some(message)
    }

    /// The first header of that name.
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(own, _)| own.eq_ignore_ascii_case(name)).map(|(_, value)| value.as_str())
    }

    /// The status of an answer.
    pub(crate) fn status(&self) -> Option<u16> {
        match self.start {
            Start::Response { status, .. } => Some(status),
            Start::Request { .. } => None,
        }
    }

    /// The headers of that name, one an element; values that share a line are not parted.
    pub(crate) fn all<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a str> {
        self.headers.iter().filter(move |(own, _)| own.eq_ignore_ascii_case(name)).map(|(_, value)| value.as_str())
    }

    /// `CSeq`: number and method.
    pub(crate) fn cseq(&self) -> Option<(u32, &str)> {
        let (number, method) = self.header("CSeq")?.split_once(' ')?;
        Some((number.parse().ok()?, method.trim()))
    }

    /// The URI of the first `Contact`.
    pub(crate) fn contact(&self) -> Option<String> {
        self.header("Contact").map(uri_of)
    }

    /// The values of all `Record-Route`, in their order.
    pub(crate) fn record_route(&self) -> Vec<String> {
        self.all("Record-Route").flat_map(values).map(str::to_owned).collect()
    }
}

impl Start {
    fn parse(line: &str) -> Option<Start> {
        if let Some(rest) = line.strip_prefix("SIP/2.0 ") {
            let (status, reason) = rest.split_once(' ').unwrap_or((rest, ""));
            return Some(Start::Response { status: status.parse().ok()?, reason: reason.to_owned() });
        }
        let (method, rest) = line.split_once(' ')?;
        let uri = rest.strip_suffix(" SIP/2.0")?;
        Some(Start::Request { method: method.to_owned(), uri: uri.to_owned() })
    }
}

/// The URI in a name-addr or addr-spec.
pub(crate) fn uri_of(value: &str) -> String {
    let bare = || value.split(';').next().unwrap_or_default().trim();
    match value.split_once('<') {
        Some((_, rest)) => rest.split('>').next().unwrap_or_default().to_owned(),
        None => bare().to_owned(),
    }
}

/// The user part of a `sip:` URI.
pub(crate) fn user_of(uri: &str) -> Option<&str> {
    let (_, rest) = uri.split_once(':')?;
    Some(rest.split_once('@')?.0)
}

/// The address of a URI whose host is an IP literal; 5060 where no port is given.
pub(crate) fn address_of(uri: &str) -> Option<SocketAddr> {
    let (_, rest) = uri.split_once(':')?;
    let host = rest.rsplit_once('@').map_or(rest, |(_, host)| host);
    let host = host.split([';', '?']).next()?;
    host.parse().ok().or_else(|| {
        let ip = host.trim_start_matches('[').trim_end_matches(']').parse().ok()?;
        Some(SocketAddr::new(ip, 5060))
    })
}

/// Parts values at commas outside of quotes and angle brackets.
pub(crate) fn values(line: &str) -> impl Iterator<Item = &str> {
    let (mut quoted, mut angled) = (false, false);
    line.split(move |c| {
        match c {
            '"' => quoted = !quoted,
            '<' if !quoted => angled = true,
            '>' if !quoted => angled = false,
            _ => {}
        }
        c == ',' && !quoted && !angled
    })
    .map(str::trim)
}

fn long_name(name: &str) -> String {
    let long = match name {
        "v" => "Via",
        "f" => "From",
        "t" => "To",
        "i" => "Call-ID",
        "m" => "Contact",
        "l" => "Content-Length",
        "c" => "Content-Type",
        other => other,
    };
    long.to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_a_request() {
        let text = b"BYE sip:a@192.0.2.1:5070 SIP/2.0\r\nv: SIP/2.0/UDP x;branch=1\r\nCSeq: 2 BYE\r\n\
            Record-Route: <sip:a;lr>, \"x, y\" <sip:b,c;lr>\r\nX: one\r\n two\r\nl: 2\r\n\r\nhixx";
        let message = Message::parse(text).unwrap();
        assert_eq!(message.start, Start::Request { method: "BYE".into(), uri: "sip:a@192.0.2.1:5070".into() });
        assert_eq!(message.header("via"), Some("SIP/2.0/UDP x;branch=1"));
        assert_eq!(message.cseq(), Some((2, "BYE")));
        assert_eq!(message.record_route(), ["<sip:a;lr>", "\"x, y\" <sip:b,c;lr>"]);
        assert_eq!(message.header("X"), Some("one two"));
        assert_eq!(message.body, b"hi");
    }

    #[test]
    fn reads_a_response_and_refuses_garbage() {
        let message = Message::parse(b"SIP/2.0 486 Busy Here\r\n\r\n").unwrap();
        assert_eq!(message.start, Start::Response { status: 486, reason: "Busy Here".into() });
        for bad in
            [&b""[..], b"x\r\n\r\n", b"BYE sip:a SIP/2.0\r\nno colon\r\n\r\n", b"SIP/2.0 200 OK\r\nl: 9\r\n\r\nx"]
        {
            assert!(Message::parse(bad).is_none());
        }
    }

    #[test]
    fn reads_uris() {
        assert_eq!(uri_of("\"A\" <sip:a@h:1;x>;tag=1"), "sip:a@h:1;x");
        assert_eq!(uri_of("sip:a@h;tag=1"), "sip:a@h");
        assert_eq!(user_of("sip:0086@h"), Some("0086"));
        assert_eq!(address_of("sip:a@192.0.2.1:5070;lr"), Some("192.0.2.1:5070".parse().unwrap()));
        assert_eq!(address_of("sip:[2001:db8::1]"), Some("[2001:db8::1]:5060".parse().unwrap()));
        assert_eq!(address_of("sip:a@example.com"), None);
    }
}
