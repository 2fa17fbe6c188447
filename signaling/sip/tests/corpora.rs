//! The torture tests of RFC 4475 and RFC 5118: every message against what its RFC expects.

#![expect(clippy::disallowed_methods, reason = "the crate reads no files; its tests do")]
#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use std::fs;
use std::path::{Path, PathBuf};

use moorline_sip::{Fault, Frame, Framer, FramingError, Index, Name};

/// Where the RFC leaves a choice, or Moorline does otherwise: the message, the status (`None` accepts), and why.
const CHOICES: &[(&str, Option<u16>, &str)] = &[
    ("ltgtruri.dat", Some(400), "brackets around a Request-URI are not guessed away"),
    ("lwsstart.dat", None, "the request line is never copied, so spare spaces in it harm nobody"),
    ("trws.dat", None, "likewise"),
    ("escruri.dat", Some(400), "headers in a Request-URI must not be acted on, and nobody sends them in earnest"),
    ("baddate.dat", None, "Date is not acted on"),
    ("regbadct.dat", Some(400), "a URI with headers stands in brackets, or it is unclear what the headers belong to"),
    ("badaspec.dat", Some(400), "spaces in a URI are not guessed away"),
    ("baddn.dat", Some(400), "the display names would be read, but the header section of the file has no end"),
    ("badbranch.dat", None, "the cookie alone is no identifier: matched as by RFC 2543"),
    (
        "mismatch02.dat",
        Some(400),
        "the RFC prefers 501 and accepts 400; the mismatch is told before the method is looked at",
    ),
    ("ipv6-bug-abnf-3-colons", Some(400), "three colons are no address to anybody who has to send there"),
];

struct Expectation {
    file: String,
    class: String,
    action: String,
}

fn corpus(folder: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/corpora").join(folder)
}

fn manifest(folder: &str) -> Vec<Expectation> {
    let text = fs::read_to_string(corpus(folder).join("MANIFEST.tsv")).unwrap();
    let mut lines = text.lines();
    let columns: Vec<_> = lines.next().unwrap().split('\t').collect();
    let column = |name: &str| columns.iter().position(|column| *column == name);
    let class = column("parser_class").or(column("class")).unwrap();
    let action = column("expected_action").or(column("note")).unwrap();
    lines
        .map(|line| {
            let fields: Vec<_> = line.split('\t').collect();
            Expectation { file: fields[0].into(), class: fields[class].into(), action: fields[action].into() }
        })
        .collect()
}

/// What Moorline makes of a message.
#[derive(Debug, PartialEq, Eq)]
enum Verdict {
    Accepted,
    /// A request to be answered so.
    Refused(Fault),
    /// No SIP message, or a response that is not to be acted on.
    Dropped,
}

fn verdict(bytes: &[u8]) -> Verdict {
    let mut index = Index::new();
    let Ok(message) = index.parse(bytes) else { return Verdict::Dropped };
    match message.check() {
        Ok(()) => Verdict::Accepted,
        Err(fault) if message.is_request() => Verdict::Refused(fault),
        Err(_) => Verdict::Dropped,
    }
}

fn hold(folder: &str) {
    let expectations = manifest(folder);
    assert!(expectations.len() >= 12);
    for Expectation { file, class, action } in expectations {
        let found = verdict(&fs::read(corpus(folder).join(&file)).unwrap());
        if let Some((_, status, why)) = CHOICES.iter().find(|choice| choice.0 == file) {
            let chosen = match found {
                Verdict::Accepted => None,
                Verdict::Refused(fault) => Some(fault.status()),
                Verdict::Dropped => panic!("{file} was dropped"),
            };
            assert_eq!(chosen, *status, "{file}: {why}");
            continue;
        }
        match class.as_str() {
            "ACCEPT" => assert_eq!(found, Verdict::Accepted, "{file}"),
            "REJECT" if action.starts_with("response:") => assert_eq!(found, Verdict::Dropped, "{file}"),
            "REJECT" => {
                let Verdict::Refused(fault) = found else { panic!("{file} was {found:?}, not refused") };
                assert!(action.contains(&fault.status().to_string()), "{file}: {action}, but {fault:?}");
            }
            _ => panic!("{file}: a choice the RFC leaves is to be written down in CHOICES; here it is {found:?}"),
        }
    }
}

#[test]
fn rfc4475() {
    hold("rfc4475");
}

#[test]
fn rfc5118() {
    hold("rfc5118");
}

#[test]
fn pjproject() {
    hold("pjproject");
}

/// Every file of a folder but its manifest.
fn files(folder: &str) -> Vec<String> {
    let entries = fs::read_dir(corpus(folder)).unwrap();
    let names = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap());
    names.filter(|name| name != "MANIFEST.tsv").collect()
}

#[test]
fn no_message_is_without_expectation() {
    for folder in FOLDERS {
        let known: Vec<_> = manifest(folder).into_iter().map(|known| known.file).collect();
        for file in files(folder).into_iter().filter(|file| file != "test.dat") {
            assert!(known.contains(&file), "{file}");
        }
    }
    // The RFC's archive holds one file that is none of its messages: its request line names no version.
    assert_eq!(verdict(&fs::read(corpus("rfc4475").join("test.dat")).unwrap()), Verdict::Dropped);
}

const FOLDERS: [&str; 3] = ["rfc4475", "rfc5118", "pjproject"];

/// What a stream makes of the messages, other than one message and nothing more: how many bytes follow it, that more
/// is awaited (`Ok(None)`), or that the connection ends.
const STREAMS: &[(&str, Result<Option<usize>, FramingError>)] = &[
    ("baddn.dat", Ok(None)),
    ("clerr.dat", Ok(None)),
    ("dblreq.dat", Ok(Some(450))),
    ("inv2543.dat", Err(FramingError::NoContentLength)),
    ("mcl01.dat", Err(FramingError::ContentLengthConflict)),
    ("ncl.dat", Err(FramingError::ContentLength)),
    ("test.dat", Err(FramingError::Garbage)),
    ("ipv4-mapped-ipv6", Ok(Some(9))),
    ("ipv6-in-sdp", Ok(Some(10))),
    ("mult-ip-in-sdp", Ok(Some(8))),
    ("input.4.sip", Ok(None)),
    ("multipart_alternative.sip", Ok(None)),
    ("multipart_basic.sip", Ok(None)),
];

#[test]
fn over_a_stream() {
    let mut seen = 0;
    for folder in FOLDERS {
        for file in files(folder) {
            let bytes = fs::read(corpus(folder).join(&file)).unwrap();
            let mut framer = Framer::new();
            let mut rest = &bytes[..];
            let found = match framer.next(&mut rest) {
                Ok(Some(Frame::Message(message))) => {
                    assert!(bytes.starts_with(message));
                    Ok(Some(bytes.len() - message.len()))
                }
                Ok(Some(frame)) => panic!("{file}: {frame:?}"),
                Ok(None) => Ok(None),
                Err(error) => Err(error),
            };
            let expected = STREAMS.iter().find(|stream| stream.0 == file);
            seen += usize::from(expected.is_some());
            assert_eq!(found, expected.map_or(Ok(Some(0)), |stream| stream.1), "{file}");
        }
    }
    assert_eq!(seen, STREAMS.len());
}

#[test]
fn every_choice_names_a_message() {
    let known: Vec<_> = ["rfc4475", "rfc5118"].into_iter().flat_map(manifest).map(|known| known.file).collect();
    for (file, _, why) in CHOICES {
        assert!(known.iter().any(|known| known == file), "{file}: {why}");
    }
}

/// The faults that the RFC describes are the ones that are told.
#[test]
fn the_answer_says_what_is_wrong() {
    let reasons = [
        ("badinv01.dat", Fault::Malformed(Name::Via)),
        ("clerr.dat", Fault::Truncated),
        ("ncl.dat", Fault::Malformed(Name::ContentLength)),
        ("scalar02.dat", Fault::Malformed(Name::CSeq)),
        ("quotbal.dat", Fault::Malformed(Name::To)),
        ("lwsruri.dat", Fault::RequestUri),
        ("badvers.dat", Fault::Version),
        ("mismatch01.dat", Fault::MethodMismatch),
        ("insuf.dat", Fault::Missing(Name::From)),
        ("multi01.dat", Fault::Repeated(Name::CSeq)),
        ("mcl01.dat", Fault::ContentLengthConflict),
    ];
    for (file, fault) in reasons {
        assert_eq!(verdict(&fs::read(corpus("rfc4475").join(file)).unwrap()), Verdict::Refused(fault), "{file}");
    }
}

/// `wsinv.dat` folds and spaces everything that may be folded and spaced.
#[test]
fn a_tortuous_invite_is_understood() {
    let bytes = fs::read(corpus("rfc4475").join("wsinv.dat")).unwrap();
    let mut index = Index::new();
    let message = index.parse(&bytes).unwrap();
    assert_eq!(message.to().unwrap().tag(), Some(&b"1918181833n"[..]));
    assert_eq!(message.from().unwrap().tag(), Some(&b"98asjd8"[..]));
    assert_eq!(message.from().unwrap().display, br#""J Rosenberg \\\"""#);
    assert_eq!(message.max_forwards(), Ok(Some(68)));
    assert_eq!(message.cseq().unwrap().number, 9);
    assert_eq!(message.via().unwrap().host, b"192.0.2.2");
    assert_eq!(message.via().unwrap().branch, Some(&b"390skdjuw"[..]));
    let branches: Vec<_> =
        message.values(Name::Via).map(|value| moorline_sip::Via::parse(value).unwrap().branch.unwrap()).collect();
    assert_eq!(branches, [&b"390skdjuw"[..], b"z9hG4bK9ikj8", b"z9hG4bK30239"]);
    assert_eq!(message.header(Name::Subject), Some(&b""[..]));
    assert_eq!(message.contact().unwrap().unwrap().param(b"newparam"), Some(Some(&b"newvalue"[..])));
    assert_eq!(message.contact().unwrap().unwrap().param(b"secondparam"), Some(None));
    assert_eq!(message.other(b"unknownheaderwithunusualvalue"), Some(&b";;,,;;,;"[..]));
    assert_eq!(message.body().len(), 150);
}

/// `dblreq.dat` holds a second request behind the first.
#[test]
fn what_follows_the_message_is_not_part_of_it() {
    let bytes = fs::read(corpus("rfc4475").join("dblreq.dat")).unwrap();
    let mut index = Index::new();
    let message = index.parse(&bytes).unwrap();
    assert_eq!(message.body(), b"");
    assert!(message.bytes().len() < bytes.len());
    assert!(!message.bytes().windows(6).any(|window| window == b"INVITE"));
}
