//! Other parsers read the messages of the corpora too; where they and Moorline accept one, they must agree on it.
//! None of them is right alone, so each has a list of messages on which it is not followed, with the reason.
#![expect(clippy::disallowed_methods, reason = "the crate reads no files; its tests do")]
#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use std::fs;
use std::path::Path;

use bytes::Bytes;
use ezk_sip_types::header::HeaderParse;
use ezk_sip_types::header::typed::{CSeq as EzkCSeq, FromTo as EzkFromTo, Via as EzkVia};
use ezk_sip_types::msg::{Line as EzkLine, PullParser};
use moorline_sip::{Index, Message, Name, OwnedMessage};
use rsipstack::sip::{Header as RsipHeader, SipMessage};

/// The messages of both corpora that Moorline accepts.
fn accepted() -> Vec<(String, Vec<u8>, OwnedMessage)> {
    let mut found = Vec::new();
    for folder in ["rfc4475", "rfc5118"] {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/corpora").join(folder);
        for entry in fs::read_dir(folder).unwrap() {
            let entry = entry.unwrap();
            let bytes = fs::read(entry.path()).unwrap();
            let mut index = Index::new();
            if let Ok(message) = index.parse(&bytes)
                && message.check().is_ok()
            {
                let message = message.to_owned();
                found.push((entry.file_name().into_string().unwrap(), bytes, message));
            }
        }
    }
    assert!(found.len() > 35);
    found
}

/// A value with its folds undone.
fn unfolded(value: &[u8]) -> String {
    let value = String::from_utf8_lossy(value);
    let parts: Vec<_> = value.lines().map(str::trim).collect();
    parts.join(" ").trim().to_owned()
}

fn values(message: Message<'_>) -> Vec<String> {
    message.lines().map(|line| unfolded(line.value)).collect()
}

/// What two parsers say of a message, collected so that all differences show at once.
#[derive(Default)]
struct Comparison {
    compared: usize,
    differences: Vec<(String, &'static str)>,
}

impl Comparison {
    fn same<T: PartialEq + std::fmt::Debug>(&mut self, file: &str, what: &'static str, ours: T, theirs: T) {
        if ours != theirs {
            println!("{file}: {what}: {ours:?}, but the other says {theirs:?}");
            self.differences.push((file.to_owned(), what));
        }
    }

    /// Every difference is known, and every known one is still there.
    fn conclude(self, known: &[(&str, &'static str, &str)]) {
        assert!(self.compared > 25, "only {} messages were compared", self.compared);
        let mut known: Vec<_> = known.iter().map(|(file, what, _)| ((*file).to_owned(), *what)).collect();
        let mut found = self.differences;
        known.sort();
        found.sort();
        assert_eq!(found, known);
    }
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// Where rsipstack is not followed: message, what differs, why.
const RSIPSTACK_ERRS: &[(&str, &str, &str)] =
    &[("wsinv.dat", "from tag", "white space around the equals sign is allowed (RFC 3261 section 25.1)")];

#[test]
fn rsipstack_agrees() {
    let mut comparison = Comparison::default();
    for (file, bytes, message) in accepted() {
        let message = message.view();
        let Ok(other) = SipMessage::try_from(&bytes[..]) else { continue };
        comparison.compared += 1;
        let headers = match &other {
            SipMessage::Request(request) => {
                let method = message.method().map(|method| text(method.as_bytes()));
                comparison.same(&file, "method", method, Some(request.method.to_string()));
                &request.headers
            }
            SipMessage::Response(response) => {
                comparison.same(&file, "status", message.status(), Some(response.status_code.code()));
                &response.headers
            }
        };
        let theirs: Vec<_> = headers.iter().map(|header| header.value().trim().to_owned()).collect();
        comparison.same(&file, "values", values(message), theirs);
        for header in headers.iter() {
            match header {
                RsipHeader::CSeq(cseq) => {
                    let theirs = rsipstack::sip::typed::CSeq::parse(cseq.value()).map(|cseq| cseq.seq).ok();
                    comparison.same(&file, "cseq", message.cseq().map(|cseq| cseq.number).ok(), theirs);
                }
                RsipHeader::From(from) => {
                    let ours = message.from().unwrap().tag().map(text);
                    let theirs = rsipstack::sip::typed::From::parse(from.value()).ok();
                    let theirs = theirs.and_then(|from| from.tag().map(|tag| tag.value().to_owned()));
                    comparison.same(&file, "from tag", ours, theirs);
                }
                RsipHeader::MaxForwards(max_forwards) => {
                    let ours = message.max_forwards().unwrap();
                    comparison.same(&file, "max-forwards", ours, max_forwards.value().parse().ok());
                }
                _ => {}
            }
        }
        if message.header(Name::ContentLength).is_some() {
            let theirs = match &other {
                SipMessage::Request(request) => request.body(),
                SipMessage::Response(response) => response.body(),
            };
            comparison.same(&file, "body", message.body(), &theirs[..]);
        }
    }
    comparison.conclude(RSIPSTACK_ERRS);
}

/// Where ezk-sip-types is not followed: message, what differs, why.
const EZK_ERRS: &[(&str, &str, &str)] = &[
    ("intmeth.dat", "via", "a percent sign in a branch is no escape (RFC 4475 section 3.1.1.2)"),
    ("wsinv.dat", "from tag", "white space around the equals sign is allowed (RFC 3261 section 25.1)"),
    ("unksm2.dat", "from tag", "a URI of another scheme may stand in From"),
];

#[test]
fn ezk_agrees() {
    let mut comparison = Comparison::default();
    for (file, bytes, message) in accepted() {
        let message = message.view();
        let src = Bytes::from(bytes);
        let lines = PullParser::new(&src, 0).map(|line| std::str::from_utf8(line.ok()?).ok());
        let Some(lines) = lines.collect::<Option<Vec<&str>>>() else { continue };
        comparison.compared += 1;
        let theirs: Vec<_> =
            lines[1..].iter().map(|line| unfolded(EzkLine::parse(&src, line).unwrap().1.value.as_bytes())).collect();
        comparison.same(&file, "values", values(message), theirs);

        let src = Bytes::copy_from_slice(message.header(Name::CSeq).unwrap());
        let theirs = EzkCSeq::parse(&src, std::str::from_utf8(&src).unwrap()).ok();
        let theirs = theirs.map(|(_, cseq)| (cseq.cseq, cseq.method.to_string()));
        let ours = message.cseq().map(|cseq| (cseq.number, text(cseq.method.as_bytes()))).ok();
        comparison.same(&file, "cseq", ours, theirs);

        let src = Bytes::copy_from_slice(message.header(Name::Via).unwrap());
        let theirs = EzkVia::parse(&src, std::str::from_utf8(&src).unwrap()).ok().map(|(_, via)| {
            let branch = via.params.get_val("branch").map(ToString::to_string);
            (via.transport.to_string(), via.sent_by.port, branch)
        });
        let ours = message.via().map(|via| (text(via.transport), via.port, via.branch.map(text))).ok();
        comparison.same(&file, "via", ours, theirs);

        let src = Bytes::copy_from_slice(message.header(Name::From).unwrap());
        let theirs = EzkFromTo::parse(&src, std::str::from_utf8(&src).unwrap()).ok();
        let theirs = theirs.map(|(_, from)| from.tag.map(|tag| tag.to_string()));
        comparison.same(&file, "from tag", message.from().map(|from| from.tag().map(text)).ok(), theirs);
    }
    comparison.conclude(EZK_ERRS);
}
