//! Questions to a DNS server on loopback that these tests run.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use hickory_resolver::proto::op::{Message, OpCode, ResponseCode};
use hickory_resolver::proto::rr::rdata::{A, AAAA, CNAME, NAPTR, SOA, SRV};
use hickory_resolver::proto::rr::{Name, RData, Record, RecordType};
use moorline_b2bua::locate::{
    Family, Located, Locator, LocatorEvent, Naptr, RecordKind, Records, Srv, Target, Transports,
};
use moorline_sip::Transport;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, UdpSocket};

use super::*;

/// Counts of what the server was asked.
#[derive(Default)]
struct Asked {
    over_udp: AtomicUsize,
    over_tcp: AtomicUsize,
}

fn name(text: &str) -> Name {
    Name::from_ascii(text).expect("a name")
}

/// What the server says to a question; `None` for silence.
fn reply(question: &Message, udp: bool) -> Option<Message> {
    let asked = question.queries.first()?;
    let owner = asked.name().clone();
    let mut reply = Message::response(question.metadata.id, OpCode::Query);
    reply.add_query(asked.clone());
    reply.metadata.recursion_available = true;
    let mut add = |ttl, data| {
        reply.add_answer(Record::from_rdata(owner.clone(), ttl, data));
    };
    let text = |text: &str| text.as_bytes().to_vec().into_boxed_slice();
    let host = owner.to_ascii().to_ascii_lowercase();
    match (host.as_str(), asked.query_type()) {
        ("example.com.", RecordType::NAPTR) => {
            let target = name("_sip._udp.example.com.");
            add(300, RData::NAPTR(NAPTR::new(10, 20, text("s"), text("SIP+D2U"), text(""), target)));
        }
        ("_sip._udp.example.com.", RecordType::SRV) => {
            add(120, RData::SRV(SRV::new(1, 2, 5070, name("a.example.com."))));
            add(60, RData::SRV(SRV::new(2, 0, 5071, name("b.example.com."))));
        }
        ("a.example.com.", RecordType::A) => add(30, RData::A(A::new(192, 0, 2, 1))),
        ("b.example.com.", RecordType::A) => add(30, RData::A(A::new(192, 0, 2, 2))),
        ("a.example.com.", RecordType::AAAA) => {
            add(30, RData::AAAA(AAAA::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 1)));
        }
        ("alias.example.com.", RecordType::A) => {
            add(10, RData::CNAME(CNAME(name("a.example.com."))));
            reply.add_answer(Record::from_rdata(name("a.example.com."), 3600, RData::A(A::new(192, 0, 2, 1))));
        }
        ("large.example.com.", RecordType::SRV) if udp => reply.metadata.truncation = true,
        ("large.example.com.", RecordType::SRV) => {
            for number in 0..200 {
                add(60, RData::SRV(SRV::new(number, 0, 5060, name(&format!("host{number}.example.com.")))));
            }
        }
        ("silent.example.com.", _) => return None,
        ("broken.example.com.", _) => reply.metadata.response_code = ResponseCode::ServFail,
        _ => {
            if host == "nowhere.example.com." {
                reply.metadata.response_code = ResponseCode::NXDomain;
            }
            let soa = SOA::new(name("ns.example.com."), name("root.example.com."), 1, 2, 3, 4, 45);
            reply.add_authority(Record::from_rdata(name("example.com."), 900, RData::SOA(soa)));
        }
    }
    Some(reply)
}

/// Runs the server on UDP and TCP.
async fn serve_zone() -> (SocketAddr, Arc<Asked>) {
    let tcp = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let address = tcp.local_addr().expect("bound");
    let udp = UdpSocket::bind(address).await.expect("the same port");
    let asked = Arc::new(Asked::default());
    let counts = asked.clone();
    tokio::spawn(async move {
        let mut buffer = [0; 4096];
        while let Ok((length, source)) = udp.recv_from(&mut buffer).await {
            counts.over_udp.fetch_add(1, Ordering::Relaxed);
            let question = Message::from_vec(&buffer[..length]).expect("a question");
            if let Some(reply) = reply(&question, true) {
                udp.send_to(&reply.to_vec().expect("encodes"), source).await.expect("sent");
            }
        }
    });
    let counts = asked.clone();
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = tcp.accept().await {
            let counts = counts.clone();
            tokio::spawn(async move {
                while let Ok(length) = stream.read_u16().await {
                    counts.over_tcp.fetch_add(1, Ordering::Relaxed);
                    let mut bytes = vec![0; usize::from(length)];
                    stream.read_exact(&mut bytes).await.expect("a question");
                    let question = Message::from_vec(&bytes).expect("a question");
                    let Some(reply) = reply(&question, false) else { continue };
                    let bytes = reply.to_vec().expect("encodes");
                    stream.write_u16(u16::try_from(bytes.len()).expect("fits")).await.expect("sent");
                    stream.write_all(&bytes).await.expect("sent");
                }
            });
        }
    });
    (address, asked)
}

async fn ask(config: &DnsConfig, kind: RecordKind, host: &str) -> Result<Answer, Failure> {
    let (questions, mut answers) = start(config);
    assert!(questions.put(Query { number: 7, kind, name: host.into() }));
    let (number, answer) = answers.recv().await.expect("an answer");
    assert_eq!(number, 7);
    answer
}

async fn asked_of_zone(kind: RecordKind, host: &str) -> Result<Answer, Failure> {
    let (server, _) = serve_zone().await;
    ask(&DnsConfig { servers: vec![server], timeout_ms: 5000 }, kind, host).await
}

#[tokio::test]
async fn records_of_each_kind_come_with_their_time_to_live() {
    let naptr = asked_of_zone(RecordKind::Naptr, "example.com").await.expect("records");
    assert_eq!(naptr.ttl_s, 300);
    let expected = Naptr {
        order: 10,
        preference: 20,
        flags: "s".into(),
        service: "SIP+D2U".into(),
        regexp: String::new(),
        replacement: "_sip._udp.example.com.".into(),
    };
    assert_eq!(naptr.records, Records::Naptr(vec![expected]));

    let srv = asked_of_zone(RecordKind::Srv, "_sip._udp.example.com").await.expect("records");
    assert_eq!(srv.ttl_s, 60, "the least of them");
    let expected = [(1, 2, 5070, "a.example.com."), (2, 0, 5071, "b.example.com.")]
        .map(|(priority, weight, port, target)| Srv { priority, weight, port, target: target.into() });
    assert_eq!(srv.records, Records::Srv(expected.to_vec()));

    let v4 = asked_of_zone(RecordKind::A, "a.example.com").await.expect("records");
    assert_eq!(v4.records, Records::Addresses(vec![[192, 0, 2, 1].into()]));
    let v6 = asked_of_zone(RecordKind::Aaaa, "a.example.com").await.expect("records");
    assert_eq!(v6.records, Records::Addresses(vec!["2001:db8::1".parse().expect("an address")]));
}

#[tokio::test]
async fn an_alias_is_followed_and_its_time_counts() {
    let answer = asked_of_zone(RecordKind::A, "alias.example.com").await.expect("records");
    assert_eq!(answer, Answer { records: Records::Addresses(vec![[192, 0, 2, 1].into()]), ttl_s: 10 });
}

#[tokio::test]
async fn no_such_name_and_no_such_records_are_told_with_how_long_that_holds() {
    // The least of the SOA's own time to live and its last field (RFC 2308 section 5).
    let none = Err(Failure::NoRecords { ttl_s: 45 });
    assert_eq!(asked_of_zone(RecordKind::A, "nowhere.example.com").await, none);
    assert_eq!(asked_of_zone(RecordKind::Naptr, "a.example.com").await, none);
}

#[tokio::test]
async fn an_answer_too_long_for_a_datagram_comes_over_tcp() {
    let (server, asked) = serve_zone().await;
    let config = DnsConfig { servers: vec![server], timeout_ms: 5000 };
    let answer = ask(&config, RecordKind::Srv, "large.example.com").await.expect("records");
    let Records::Srv(records) = answer.records else { panic!("other records") };
    assert_eq!(records.len(), 200);
    assert_eq!(asked.over_tcp.load(Ordering::Relaxed), 1);
}

#[tokio::test]
async fn a_server_that_fails_or_is_silent_or_is_not_there_is_a_failure() {
    assert_eq!(asked_of_zone(RecordKind::A, "broken.example.com").await, Err(Failure::Unavailable));
    let (server, _) = serve_zone().await;
    let config = DnsConfig { servers: vec![server], timeout_ms: 200 };
    assert_eq!(ask(&config, RecordKind::A, "silent.example.com").await, Err(Failure::Unavailable));
    let closed = UdpSocket::bind("127.0.0.1:0").await.expect("a port").local_addr().expect("bound");
    let config = DnsConfig { servers: vec![closed], timeout_ms: 200 };
    assert_eq!(ask(&config, RecordKind::A, "a.example.com").await, Err(Failure::Unavailable));
}

#[tokio::test]
async fn nothing_is_kept_here() {
    let (server, asked) = serve_zone().await;
    let (questions, mut answers) = start(&DnsConfig { servers: vec![server], timeout_ms: 5000 });
    for number in 0..3 {
        assert!(questions.put(Query { number, kind: RecordKind::A, name: "a.example.com".into() }));
        assert!(answers.recv().await.is_some_and(|(answered, answer)| answered == number && answer.is_ok()));
    }
    assert_eq!(asked.over_udp.load(Ordering::Relaxed), 3);
}

#[tokio::test]
async fn more_questions_than_are_asked_at_once_wait_and_more_than_may_wait_are_refused() {
    let (server, _) = serve_zone().await;
    let (questions, mut answers) = start(&DnsConfig { servers: vec![server], timeout_ms: 5000 });
    let put = (0..1000)
        .filter(|number| questions.put(Query { number: *number, kind: RecordKind::A, name: "a.example.com".into() }))
        .count();
    assert_eq!(put, MAX_QUEUED);
    for _ in 0..put {
        assert!(answers.recv().await.expect("an answer").1.is_ok());
    }
}

#[tokio::test]
async fn a_locator_finds_its_hops() {
    let (server, _) = serve_zone().await;
    let (questions, mut answers) = start(&DnsConfig { servers: vec![server], timeout_ms: 5000 });
    let mut locator = Locator::new(Box::new(|| 0));
    let target = Target {
        host: "example.com".into(),
        port: None,
        transport: None,
        secure: false,
        transports: Transports::new([Transport::Udp, Transport::Tcp]),
        family: Family::V4,
    };
    let located = locator.locate(0, &target);
    let hops = loop {
        match locator.poll_event() {
            Some(LocatorEvent::Query(query)) => assert!(questions.put(query)),
            Some(LocatorEvent::Located { ticket, hops }) => {
                assert_eq!(located, Located::Pending(ticket));
                break hops.expect("located");
            }
            None => {
                let (number, answer) = answers.recv().await.expect("an answer");
                locator.answer(0, number, answer);
            }
        }
    };
    let hops: Vec<String> = hops.iter().map(ToString::to_string).collect();
    assert_eq!(hops, ["192.0.2.1:5070/udp", "192.0.2.2:5071/udp"]);
}

#[test]
fn faults_of_the_configuration_are_named() {
    assert_eq!(DnsConfig::default().faults(), []);
    let bad = DnsConfig { servers: vec!["0.0.0.0:53".parse().expect("an address")], timeout_ms: 0 };
    let keys: Vec<String> = bad.faults().into_iter().map(|(key, ..)| key).collect();
    assert_eq!(keys, ["servers[0]", "timeout_ms"]);
}

#[tokio::test]
async fn other_servers_are_asked_once_they_are_configured() {
    let (first, of_first) = serve_zone().await;
    let (second, of_second) = serve_zone().await;
    let config = |server| DnsConfig { servers: vec![server], timeout_ms: 5000 };
    let (questions, mut answers) = start(&config(first));
    let counts = || [&of_first, &of_second].map(|asked| asked.over_udp.load(Ordering::Relaxed));
    for (number, expected) in [(1, [1, 0]), (2, [1, 1])] {
        let query = Query { number, kind: RecordKind::A, name: "a.example.com".into() };
        assert!(questions.put(query));
        let (answered, answer) = answers.recv().await.expect("an answer");
        assert!(answered == number && answer.is_ok(), "{answer:?}");
        assert_eq!(counts(), expected);
        questions.ask_by(&config(second));
    }
    // Who is asked already answers all the same.
    questions.ask_by(&config(first));
    assert!(questions.put(Query { number: 3, kind: RecordKind::A, name: "silent.example.com".into() }));
    while of_first.over_udp.load(Ordering::Relaxed) == 1 {
        tokio::task::yield_now().await;
    }
    questions.ask_by(&DnsConfig { servers: vec![second], timeout_ms: 100 });
    assert!(questions.put(Query { number: 4, kind: RecordKind::A, name: "a.example.com".into() }));
    assert_eq!(answers.recv().await.map(|(number, _)| number), Some(4));
    assert_eq!(answers.recv().await.map(|(number, _)| number), Some(3));
}
