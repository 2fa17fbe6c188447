//! What it costs to read and check a 900-byte INVITE, in time and in allocations.

#![expect(clippy::expect_used, reason = "a bench whose input is wrong has nothing to measure")]

use std::hint::black_box;
use std::time::Duration;

use criterion::Criterion;
use moorline_sip::{Index, Message, Method, Name, Writer, respond};

/// An INVITE as a carrier's border sends it.
const HEADERS: &[(&str, &str)] = &[
    ("Via", "SIP/2.0/UDP 192.0.2.10:5060;branch=z9hG4bK2d4790.1f0c7a5b2e;rport"),
    ("Record-Route", "<sip:192.0.2.10;lr;ftag=as58f4201b>"),
    ("Max-Forwards", "69"),
    ("From", "\"Alice Example\" <sip:+493012345678@carrier.example.net>;tag=as58f4201b"),
    ("To", "<sip:+442071234567@192.0.2.20:5060>"),
    ("Call-ID", "3c26700d0f4f1a8a1c2f5e6b7d8c9a0b@192.0.2.11"),
    ("CSeq", "102 INVITE"),
    ("Contact", "<sip:+493012345678@192.0.2.11:5060;transport=udp>"),
    ("User-Agent", "Example SBC 7.2"),
    ("Allow", "INVITE, ACK, CANCEL, OPTIONS, BYE, UPDATE, PRACK"),
    ("Supported", "replaces, timer, 100rel"),
    ("P-Asserted-Identity", "<sip:+493012345678@carrier.example.net>"),
    ("Content-Type", "application/sdp"),
];
const BODY: &str = "v=0\r\no=- 20518 0 IN IP4 192.0.2.30\r\ns=-\r\nc=IN IP4 192.0.2.30\r\nt=0 0\r\n\
    m=audio 49170 RTP/AVP 8 0 101\r\na=rtpmap:8 PCMA/8000\r\na=rtpmap:0 PCMU/8000\r\n\
    a=rtpmap:101 telephone-event/8000\r\na=sendrecv\r\n";

fn invite() -> Vec<u8> {
    let mut writer = Writer::request(Method::Invite, b"sip:+442071234567@192.0.2.20:5060");
    for (name, value) in HEADERS {
        writer = writer.header(name, value);
    }
    writer.finish(BODY.as_bytes())
}

fn read<'a>(index: &'a mut Index, bytes: &'a [u8]) -> Message<'a> {
    let message = index.parse(bytes).expect("the INVITE is one");
    message.check().expect("nothing is wrong with it");
    message
}

fn main() {
    let bytes = invite();
    let mut index = Index::new();
    let mut criterion = Criterion::default().measurement_time(Duration::from_secs(3)).configure_from_args();
    criterion.bench_function("parse", |bencher| bencher.iter(|| index.parse(black_box(&bytes)).is_ok()));
    criterion.bench_function("parse and check", |bencher| {
        bencher.iter(|| read(&mut index, black_box(&bytes)).header(Name::CallId).is_some());
    });
    criterion.bench_function("respond", |bencher| {
        let request = read(&mut index, &bytes).to_owned();
        let source = "192.0.2.10:5060".parse().expect("an address");
        bencher.iter(|| respond(black_box(request.view()), source, 180, b"Ringing", Some(b"tag")).finish(b"").len());
    });

    let allocations = allocation_counter::measure(|| {
        black_box(read(&mut index, black_box(&bytes)).body().len());
    });
    println!("bytes={}", bytes.len());
    println!("parse_ns={:.0}", per_call_ns(|| index.parse(black_box(&bytes)).is_ok()));
    println!("parse_check_ns={:.0}", per_call_ns(|| read(&mut index, black_box(&bytes)).body().is_empty()));
    println!("parse_allocs={}", allocations.count_total);
}

/// The least mean of some runs: what the work costs when nothing else is in the way.
fn per_call_ns(mut work: impl FnMut() -> bool) -> f64 {
    const CALLS: u32 = 20_000;
    let run = |work: &mut dyn FnMut() -> bool| {
        let start = clock();
        for _ in 0..CALLS {
            black_box(work());
        }
        start.elapsed().as_nanos() as f64 / f64::from(CALLS)
    };
    (0..20).map(|_| run(&mut work)).fold(f64::INFINITY, f64::min)
}

#[expect(clippy::disallowed_methods, clippy::disallowed_types, reason = "the crate reads no clock; its bench does")]
fn clock() -> std::time::Instant {
    std::time::Instant::now()
}
