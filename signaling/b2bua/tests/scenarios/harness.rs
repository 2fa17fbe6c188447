//! A worker between a scripted caller, a scripted callee and a media process made of a table, in virtual
//! time: a test reads like the call it drives.

use std::collections::{BTreeMap, VecDeque};
use std::net::SocketAddr;

use moorline_b2bua::cdr::{Mark, Record, Stage, Time};
use moorline_b2bua::locate::Query;
use moorline_b2bua::policy::limit::SLOT_BYTES;
use moorline_b2bua::policy::{Limits, Listener, MediaNat, Policy, Route, Routes, Trunk, Way};
use moorline_b2bua::verify::DigestQuestion;
use moorline_b2bua::{Counters, Input, MediaInput, News, Observation, Output, Place, Worker};
use moorline_control::{
    Announcement, Event, Listed, Listing, LocalAddresses, LocalSession, Profile, Refusal, RefusalCode, Reply, Request,
    ServerHello, SessionId, SessionReport, SessionSpec, VERSION,
};
use moorline_sip::Transport;
use moorline_sip::transaction::Flow;

pub(crate) const SECOND: u64 = 1_000_000_000;
/// Moorline, on the side of its customers and on the side of the carrier.
pub(crate) const INSIDE: &str = "192.0.2.1:5060";
pub(crate) const OUTSIDE: &str = "198.51.100.1:5060";
/// The parties, and the carrier's second address.
pub(crate) const CALLER: &str = "192.0.2.10:5060";
pub(crate) const CALLEE: &str = "198.51.100.20:5060";
pub(crate) const CALLEE_2: &str = "198.51.100.21:5060";

pub(crate) struct Net {
    pub(crate) worker: Worker,
    pub(crate) now: u64,
    pub(crate) media: Media,
    pub(crate) observed: Vec<Observation>,
    /// What was written down of calls.
    pub(crate) marks: Vec<Mark>,
    /// What DNS was asked, and has not answered.
    pub(crate) questions: Vec<Query>,
    /// What the other workers were told.
    pub(crate) told: Vec<News>,
    /// What was written down.
    pub(crate) stored: BTreeMap<Vec<u8>, Vec<u8>>,
    /// How often callees were called, as it was written down.
    pub(crate) counted: BTreeMap<u32, [u8; SLOT_BYTES]>,
    /// Which verdicts are awaited.
    pub(crate) asked: Vec<(u64, DigestQuestion)>,
    /// What far ends over TLS are called.
    pub(crate) names: Vec<(SocketAddr, String)>,
    sent: VecDeque<(Flow, Message)>,
    /// The path of the message that was read last.
    pub(crate) path: Option<Flow>,
    /// Of the worker's identifiers; another one for each worker.
    seed: u64,
}

/// The media process, as far as signaling can see it.
#[derive(Default)]
pub(crate) struct Media {
    pub(crate) sessions: BTreeMap<SessionId, (SessionSpec, LocalSession)>,
    /// Every request, in order.
    pub(crate) log: Vec<Request>,
    /// Replies are held back while true.
    pub(crate) paused: bool,
    /// The refusal of the next `Open` or `Update`.
    pub(crate) refuse: Option<Refusal>,
    /// What it says of every session.
    pub(crate) report: SessionReport,
    /// The next `List` or `Claim` finds no room.
    pub(crate) busy_on_return: u32,
    held: VecDeque<(u32, Request)>,
    next_port: u16,
}

/// A message that Moorline sent, as text.
#[derive(Debug, Clone)]
pub(crate) struct Message(pub(crate) String);

impl Message {
    pub(crate) fn start(&self) -> &str {
        self.0.lines().next().unwrap()
    }

    /// The first value of a header.
    pub(crate) fn header(&self, name: &str) -> &str {
        self.find(name).unwrap_or_else(|| panic!("no {name} in\n{}", self.0))
    }

    pub(crate) fn find(&self, name: &str) -> Option<&str> {
        self.0.split("\r\n\r\n").next()?.lines().skip(1).find_map(|line| {
            let (key, value) = line.split_once(':')?;
            key.trim().eq_ignore_ascii_case(name).then(|| value.trim())
        })
    }

    pub(crate) fn body(&self) -> &str {
        self.0.split_once("\r\n\r\n").unwrap().1
    }

    pub(crate) fn tag(&self, header: &str) -> &str {
        let value = self.header(header);
        let from = value.find(";tag=").unwrap_or_else(|| panic!("no tag in {value}")) + 5;
        value[from..].split(';').next().unwrap()
    }

    pub(crate) fn branch(&self) -> &str {
        let via = self.header("Via");
        via.split("branch=").nth(1).unwrap().split(';').next().unwrap()
    }
}

/// Numbers that begin with 555 go there, those of the customers to them.
pub(crate) fn routes(to: Way) -> Routes {
    Routes::new([
        Route { prefix: "555".into(), to, ..Route::default() },
        Route { prefix: "2".into(), from: Some(1), to: Way::Trunk(0), ..Route::default() },
    ])
}

pub(crate) fn policy() -> Policy {
    let listener = |name: &str, at: &str| Listener {
        name: name.into(),
        bind: at.parse().unwrap(),
        transports: Transport::ALL.to_vec(),
        advertised: at.parse().unwrap(),
    };
    let trunk = |name: &str, listener, sources: &[&str], targets: &[&str]| Trunk {
        name: name.into(),
        listener,
        sources: sources.iter().map(|s| s.parse().unwrap()).collect(),
        targets: targets.iter().map(|t| t.parse().unwrap()).collect(),
        media_range: name.into(),
        media_sources: Vec::new(),
        media_nat: MediaNat::Auto,
        ..Trunk::default()
    };
    Policy {
        listeners: vec![listener("inside", INSIDE), listener("outside", OUTSIDE)],
        trunks: vec![
            trunk("customers", 0, &["192.0.2.0/24"], &[CALLER]),
            trunk("carrier", 1, &["198.51.100.0/24"], &[CALLEE, CALLEE_2]),
        ],
        routes: routes(Way::Trunk(1)),
        limits: Limits::default(),
        ..Policy::default()
    }
}

/// What the media process can play.
fn announcements() -> Vec<Announcement> {
    vec![Announcement { name: "call-restricted".into(), length_ms: 3_000 }]
}

pub(crate) fn hello(boot: u64) -> ServerHello {
    let (datapath, ranges, profiles) = ("test".into(), Vec::new(), vec![Profile::Rtp, Profile::Udptl]);
    ServerHello {
        version: VERSION,
        boot,
        shards: 1,
        capacity: 100,
        datapath,
        ranges,
        profiles,
        announcements: announcements(),
    }
}

fn worker(place: Place, policy: Policy, seed: u64) -> Worker {
    // SplitMix64: a fixed seed, so that every run is the same.
    let mut state = seed;
    let entropy = move || {
        state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = state;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    };
    Worker::new(place, policy, Box::new(entropy))
}

impl Net {
    /// Moorline up and connected to its media process.
    pub(crate) fn new() -> Net {
        Net::with(policy())
    }

    pub(crate) fn with(policy: Policy) -> Net {
        Net::at(Place::alone(1), policy)
    }

    /// One of several workers.
    pub(crate) fn at(place: Place, policy: Policy) -> Net {
        let mut net = Net {
            worker: worker(place, policy, 1),
            now: SECOND,
            media: Media::default(),
            observed: Vec::new(),
            marks: Vec::new(),
            questions: Vec::new(),
            told: Vec::new(),
            stored: BTreeMap::new(),
            counted: BTreeMap::new(),
            asked: Vec::new(),
            names: Vec::new(),
            sent: VecDeque::new(),
            path: None,
            seed: 1,
        };
        net.input(Input::Media(MediaInput::Connected(hello(1))));
        net
    }

    /// Kills signaling and starts it anew: only the media process remembers anything, and what is written down of calls.
    pub(crate) fn restart_signaling(&mut self, policy: Policy) {
        self.seed += 1;
        self.worker = worker(Place::alone(1), policy, self.seed);
        self.sent.clear();
        let (mut begun, mut ended) = (BTreeMap::new(), Vec::new());
        for Mark { stage, record } in &self.marks {
            match stage {
                Stage::Ended => {
                    begun.remove(&record.id);
                    ended.push(record.id.parse().unwrap());
                }
                _ => drop(begun.insert(record.id.clone(), (**record).clone())),
            }
        }
        let until = Time { unix_ms: (self.now / 1_000_000) as i64 };
        self.input(Input::Begun { records: begun.into_values().collect(), ended, until });
        self.input(Input::Media(MediaInput::Connected(hello(1))));
    }

    pub(crate) fn input(&mut self, input: Input<'_>) {
        self.worker.handle(self.now, input);
        self.drain();
    }

    fn drain(&mut self) {
        while let Some(output) = self.worker.poll_output() {
            match output {
                Output::Transmit { flow, bytes } => {
                    self.sent.push_back((flow, Message(String::from_utf8(bytes.to_vec()).unwrap())));
                }
                Output::Media { request, body } => {
                    self.media.log.push(body.clone());
                    if self.media.paused {
                        self.media.held.push_back((request, body));
                    } else {
                        let reply = self.media.reply(body);
                        self.worker.handle(self.now, Input::Media(MediaInput::Reply { request, reply }));
                    }
                }
                Output::Dns(query) => self.questions.push(query),
                Output::Tell(news) => self.told.push(news),
                Output::Store { key, value, .. } => drop(match value {
                    Some(value) => self.stored.insert(key, value),
                    None => self.stored.remove(&key),
                }),
                Output::Counted => {
                    let days = self.worker.limits().days();
                    let written = days.write_changes(|at, bytes| {
                        self.counted.insert(at, *bytes);
                        true
                    });
                    assert!(written);
                }
                Output::Verify { request, question } => self.asked.push((request, question)),
                Output::Name { remote, name } => self.names.push((remote, name)),
                Output::Record(mark) => self.marks.push(mark),
                Output::Observe(observation) => self.observed.push(observation),
            }
        }
    }

    /// Answers what the media process held back.
    pub(crate) fn resume_media(&mut self) {
        self.media.paused = false;
        while let Some((request, body)) = self.media.held.pop_front() {
            let reply = self.media.reply(body);
            self.input(Input::Media(MediaInput::Reply { request, reply }));
        }
    }

    /// Answers the listing that was held back; the claims that follow it find no room at first.
    pub(crate) fn resume_listing_then_busy(&mut self) {
        self.media.paused = false;
        let Some((request, body)) = self.media.held.pop_front() else { panic!("no listing was asked for") };
        let reply = self.media.reply(body);
        self.media.busy_on_return = 1;
        self.input(Input::Media(MediaInput::Reply { request, reply }));
    }

    pub(crate) fn media_event(&mut self, event: Event) {
        self.input(Input::Media(MediaInput::Event(event)));
    }

    /// A datagram from a party: `CALLER` speaks to the inside listener, the others to the outside one.
    pub(crate) fn receive(&mut self, from: &str, text: &str) {
        self.receive_bytes(from, text.as_bytes());
    }

    pub(crate) fn receive_bytes(&mut self, from: &str, bytes: &[u8]) {
        let source: SocketAddr = from.parse().unwrap();
        let listener = usize::from(!from.starts_with("192.0.2."));
        let flow = Flow::new(listener, Transport::Udp, source);
        self.input(Input::Message { flow, bytes });
    }

    /// The same from a party that speaks to this listener.
    pub(crate) fn receive_at(&mut self, listener: usize, from: &str, text: &str) {
        let flow = Flow::new(listener, Transport::Udp, from.parse().unwrap());
        self.input(Input::Message { flow, bytes: text.as_bytes() });
    }

    /// Everything that was sent and not read yet, with its receiver.
    pub(crate) fn take_sent(&mut self) -> Vec<(String, Message)> {
        self.sent.drain(..).map(|(flow, message)| (flow.remote.to_string(), message)).collect()
    }

    /// The next message to a party.
    #[track_caller]
    pub(crate) fn next(&mut self, to: &str) -> Message {
        let to: SocketAddr = to.parse().unwrap();
        let found = self.sent.iter().position(|(flow, _)| flow.remote == to);
        let Some(found) = found else { panic!("nothing was sent to {to}; unread: {:?}", self.unread()) };
        let (flow, message) = self.sent.remove(found).unwrap();
        self.path = Some(flow);
        message
    }

    /// The next message to a party, which must start like this.
    #[track_caller]
    pub(crate) fn expect(&mut self, to: &str, start: &str) -> Message {
        let message = self.next(to);
        assert!(message.start().starts_with(start), "{start} to {to} expected, got\n{}", message.0);
        message
    }

    /// Nothing else was sent.
    #[track_caller]
    pub(crate) fn quiet(&self) {
        assert!(self.sent.is_empty(), "sent, and not expected: {:?}", self.unread());
    }

    fn unread(&self) -> Vec<String> {
        self.sent.iter().map(|(flow, message)| format!("{}: {}", flow.remote, message.start())).collect()
    }

    /// Lets time pass, timer by timer.
    pub(crate) fn advance(&mut self, by: u64) {
        let until = self.now + by;
        while let Some(at) = self.worker.next_timeout().filter(|at| *at <= until) {
            self.now = self.now.max(at);
            self.input(Input::Timeout);
        }
        self.now = until;
    }

    pub(crate) fn counters(&self) -> Counters {
        self.worker.counters()
    }

    /// The only open session.
    #[track_caller]
    pub(crate) fn session(&self) -> (SessionId, SessionSpec) {
        assert_eq!(self.media.sessions.len(), 1, "sessions open");
        let (id, (spec, _)) = self.media.sessions.iter().next().unwrap();
        (*id, spec.clone())
    }

    /// The records of all calls that are over: each ends once, and nothing comes after that.
    #[track_caller]
    pub(crate) fn records(&self) -> Vec<Record> {
        let mut ended = BTreeMap::new();
        let mut records = Vec::new();
        for Mark { stage, record } in &self.marks {
            assert!(!ended.contains_key(&record.id), "{stage:?} after the end of {record:?}");
            if *stage == Stage::Ended {
                ended.insert(record.id.clone(), ());
                records.push((**record).clone());
            }
        }
        records
    }

    /// The only record of a call that is over.
    #[track_caller]
    pub(crate) fn record(&self) -> Record {
        let records = self.records();
        assert_eq!(records.len(), 1, "{records:?}");
        records[0].clone()
    }

    /// Every call that was begun has its record.
    #[track_caller]
    fn all_recorded(&self) {
        let ended: Vec<String> = self.records().into_iter().map(|record| record.id).collect();
        let open = self.marks.iter().find(|mark| !ended.contains(&mark.record.id));
        assert!(open.is_none(), "a record did not end: {open:?}");
    }

    /// After every transaction has run out, nothing is left of any call.
    #[track_caller]
    pub(crate) fn nothing_left(&mut self) {
        self.advance(120 * SECOND);
        self.all_recorded();
        self.sent.clear();
        assert!(self.media.sessions.is_empty(), "a media session is left");
        let counters = self.counters();
        assert_eq!((counters.calls_active, counters.transactions_active), (0, 0), "calls and transactions left");
        assert_eq!((counters.calls_kept, counters.subscriptions_active), (0, 0), "calls or subscriptions in memory");
        assert_eq!(self.worker.next_timeout(), None, "a timer is left");
    }

    /// The same where names of targets are looked up for ever.
    #[track_caller]
    pub(crate) fn nothing_left_but_names(&mut self) {
        self.advance(120 * SECOND);
        self.sent.clear();
        assert!(self.media.sessions.is_empty(), "a media session is left");
        let counters = self.counters();
        assert_eq!((counters.calls_active, counters.transactions_active), (0, 0), "calls and transactions left");
    }
}

impl Media {
    /// What was held back never came.
    pub(crate) fn forget_requests(&mut self) {
        self.held.clear();
        self.paused = false;
    }

    fn reply(&mut self, request: Request) -> Reply {
        let returning = matches!(request, Request::List { .. } | Request::Claim { .. });
        if returning && self.busy_on_return > 0 {
            self.busy_on_return -= 1;
            return Reply::Refused(Refusal::new(RefusalCode::Busy, "mailbox full"));
        }
        match request {
            Request::Update { session, .. } if !self.sessions.contains_key(&session) => {
                Reply::Refused(Refusal::new(RefusalCode::NoSuchSession, session.to_string()))
            }
            Request::Open { session, spec } | Request::Update { session, spec } => {
                if let Some(refusal) = self.refuse.take() {
                    return Reply::Refused(refusal);
                }
                let before = self.sessions.remove(&session).map(|(_, local)| local).unwrap_or_default();
                let local = self.addresses(&spec, &before);
                self.sessions.insert(session, (spec, local.clone()));
                Reply::Opened(local)
            }
            Request::Claim { session } => match self.sessions.get(&session) {
                Some((_, local)) => Reply::Opened(local.clone()),
                None => Reply::Refused(Refusal::new(RefusalCode::NoSuchSession, session.to_string())),
            },
            Request::Close { session } => Reply::Closed(self.sessions.remove(&session).map(|_| self.report.clone())),
            Request::Query { .. } => Reply::Report(self.report.clone()),
            Request::List { after } => {
                let from = self.sessions.iter().filter(|(id, _)| after.is_none_or(|after| **id > after));
                let page = from.map(|(id, (spec, local))| Listing {
                    session: *id,
                    local: local.clone(),
                    snapshot: spec.snapshot.clone(),
                    owned: false,
                });
                let mut sessions: Vec<Listing> = page.take(3).collect();
                let more = sessions.len() == 3;
                sessions.truncate(2);
                Reply::Listed(Listed { sessions, more })
            }
        }
    }

    /// Inside ports on 192.0.2.1, outside ports on 198.51.100.1, of the range "six" on 2001:db8::1 and of "second" on
    /// 203.0.113.1, of "private" on 10.9.9.1; a stream keeps what it has of its range.
    fn addresses(&mut self, spec: &SessionSpec, before: &LocalSession) -> LocalSession {
        let mut legs = Vec::new();
        for (position, leg) in spec.legs.iter().enumerate() {
            let ip = match leg.range.as_str() {
                "customers" => "192.0.2.1",
                "six" => "2001:db8::1",
                "second" => "203.0.113.1",
                "private" => "10.9.9.1",
                _ => "198.51.100.1",
            };
            let mut streams = Vec::new();
            for (index, stream) in leg.streams.iter().enumerate() {
                let known = before.legs.get(position).and_then(|leg| leg.get(index).copied().flatten());
                let known = known.filter(|known| known.rtp.ip().to_string() == ip);
                let own = stream.active.then(|| stream.local.or(known).unwrap_or_else(|| self.fresh(ip)));
                streams.push(own);
            }
            legs.push(streams);
        }
        LocalSession { legs }
    }

    fn fresh(&mut self, ip: &str) -> LocalAddresses {
        let port = 20_000 + self.next_port;
        self.next_port += 2;
        let at = |port| SocketAddr::new(ip.parse().unwrap(), port);
        LocalAddresses { rtp: at(port), rtcp: at(port + 1), advertised: None }
    }
}

/// An SDP with one audio stream.
pub(crate) fn sdp(ip: &str, port: u16) -> String {
    format!(
        "v=0\r\no=- 1 1 IN IP4 {ip}\r\ns=-\r\nc=IN IP4 {ip}\r\nt=0 0\r\nm=audio {port} RTP/AVP 8 101\r\n\
         a=rtpmap:101 telephone-event/8000\r\na=x-unknown:kept\r\n"
    )
}

fn with_body(head: String, body: &str) -> String {
    let content_type = if body.is_empty() { "" } else { "Content-Type: application/sdp\r\n" };
    format!("{head}{content_type}Content-Length: {}\r\n\r\n{body}", body.len())
}

/// The caller's INVITE, before there is a dialog.
pub(crate) fn invite(called: &str, call_id: &str, body: &str) -> String {
    with_body(
        format!(
            "INVITE sip:{called}@{INSIDE} SIP/2.0\r\nVia: SIP/2.0/UDP {CALLER};branch=z9hG4bK-{call_id}\r\n\
             Max-Forwards: 70\r\nFrom: \"Alice\" <sip:2001@192.0.2.10>;tag=alice\r\n\
             To: <sip:{called}@192.0.2.1>\r\nCall-ID: {call_id}@192.0.2.10\r\nCSeq: 1 INVITE\r\n\
             Contact: <sip:2001@{CALLER}>\r\nX-Kept:   as  it\tis \r\n"
        ),
        body,
    )
}

/// A request inside the caller's dialog, whose other tag is `tag`.
pub(crate) fn caller_request(method: &str, cseq: u32, call_id: &str, tag: &str, body: &str) -> String {
    with_body(
        format!(
            "{method} sip:{INSIDE} SIP/2.0\r\nVia: SIP/2.0/UDP {CALLER};branch=z9hG4bK-{method}-{cseq}-{call_id}\r\n\
             Max-Forwards: 70\r\nFrom: \"Alice\" <sip:2001@192.0.2.10>;tag=alice\r\n\
             To: <sip:5551000@192.0.2.1>;tag={tag}\r\nCall-ID: {call_id}@192.0.2.10\r\nCSeq: {cseq} {method}\r\n\
             Contact: <sip:2001@{CALLER}>\r\n"
        ),
        body,
    )
}

/// A request of the callee inside the dialog that `invite` (as Moorline sent it) set up.
pub(crate) fn callee_request(method: &str, cseq: u32, invite: &Message, tag: &str, body: &str) -> String {
    let call_id = invite.header("Call-ID");
    with_body(
        format!(
            "{method} sip:{OUTSIDE} SIP/2.0\r\nVia: SIP/2.0/UDP {CALLEE};branch=z9hG4bK-{method}-{cseq}-{call_id}\r\n\
             Max-Forwards: 70\r\nFrom: {};tag={tag}\r\nTo: {}\r\nCall-ID: {call_id}\r\nCSeq: {cseq} {method}\r\n\
             Contact: <sip:{CALLEE}>\r\n",
            invite.header("To").split(";tag=").next().unwrap(),
            invite.header("From"),
        ),
        body,
    )
}

/// A response to a request of Moorline's; `tag` is the responder's.
pub(crate) fn answer(request: &Message, status: &str, tag: &str, contact: &str, body: &str) -> String {
    let to = request.header("To");
    let to = if to.contains(";tag=") || tag.is_empty() { to.to_owned() } else { format!("{to};tag={tag}") };
    with_body(
        format!(
            "SIP/2.0 {status}\r\nVia: {}\r\nFrom: {}\r\nTo: {to}\r\nCall-ID: {}\r\nCSeq: {}\r\n\
             Contact: <sip:{contact}>\r\n",
            request.header("Via"),
            request.header("From"),
            request.header("Call-ID"),
            request.header("CSeq"),
        ),
        body,
    )
}

/// A message with more header lines, each with its CRLF.
pub(crate) fn with(text: &str, lines: &str) -> String {
    text.replacen("Contact:", &format!("{lines}Contact:"), 1)
}

/// A call that is up, with what a test needs to go on in it.
pub(crate) struct Up {
    /// Moorline's tag towards the caller.
    pub(crate) tag: String,
    /// The INVITE as the callee saw it.
    pub(crate) invite: Message,
}

/// INVITE, 180, 200, ACK: a call between 192.0.2.10:4000 and 198.51.100.20:6000.
pub(crate) fn establish(net: &mut Net) -> Up {
    let call_id = "c1";
    net.receive(CALLER, &invite("5551000", call_id, &sdp("192.0.2.10", 4000)));
    net.expect(CALLER, "SIP/2.0 100");
    let invite = net.expect(CALLEE, "INVITE");
    net.receive(CALLEE, &answer(&invite, "180 Ringing", "bob", CALLEE, ""));
    net.expect(CALLER, "SIP/2.0 180");
    net.receive(CALLEE, &answer(&invite, "200 OK", "bob", CALLEE, &sdp("198.51.100.20", 6000)));
    let ok = net.expect(CALLER, "SIP/2.0 200");
    let tag = ok.tag("To").to_owned();
    net.receive(CALLER, &caller_request("ACK", 1, call_id, &tag, ""));
    net.expect(CALLEE, "ACK");
    net.quiet();
    Up { tag, invite }
}
