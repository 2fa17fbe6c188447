//! Random parties: whatever they and the network do, nothing panics and nothing is left in the end.

use moorline_b2bua::{Input, MediaInput};
use moorline_control::Event;
use proptest::prelude::*;

use crate::harness::*;

/// One thing that happens. Numbers pick among what there is.
#[derive(Debug, Clone)]
enum Step {
    Invite {
        call: u8,
        offer: bool,
        /// It knows of extensions.
        able: bool,
    },
    /// A party answers a request that it was sent.
    Answer {
        which: usize,
        status: usize,
        sdp: bool,
        tag: u8,
        /// It knows of extensions; its provisional answers are numbered so.
        able: Option<u8>,
    },
    /// The caller does something in or about its call.
    Caller {
        call: u8,
        method: usize,
        cseq: u8,
        sdp: bool,
    },
    /// The callee does something in a dialog that was offered to it.
    Callee {
        which: usize,
        method: usize,
        cseq: u8,
        sdp: bool,
    },
    /// A datagram comes again, with one byte changed if so asked.
    Again {
        which: usize,
        change: Option<(usize, u8)>,
    },
    Wait {
        ms: u64,
    },
    MediaTimeout,
    MediaAway,
    MediaBack,
    Restart,
}

const STATUSES: [&str; 9] = [
    "100 Trying",
    "180 Ringing",
    "183 Session Progress",
    "200 OK",
    "200 OK",
    "404 Not Found",
    "487 Request Terminated",
    "491 Request Pending",
    "503 Service Unavailable",
];
const METHODS: [&str; 12] =
    ["ACK", "BYE", "INVITE", "CANCEL", "INFO", "OPTIONS", "PRACK", "UPDATE", "UPDATE", "REFER", "NOTIFY", "SUBSCRIBE"];

/// What a REFER, a SUBSCRIBE and a NOTIFY need; the others do not mind.
const EVENT: &str =
    "Refer-To: <sip:3000@192.0.2.1?Replaces=x%3Bto-tag%3D1%3Bfrom-tag%3D2>\r\nEvent: refer\r\nSubscription-State: ";

const ABLE: &str = "Supported: 100rel, timer\r\nAllow: INVITE, UPDATE, PRACK\r\nSession-Expires: 100\r\n";

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        3 => (0u8..4, any::<bool>(), any::<bool>())
            .prop_map(|(call, offer, able)| Step::Invite { call, offer, able }),
        8 => (any::<usize>(), 0..STATUSES.len(), any::<bool>(), 0u8..2, proptest::option::of(1u8..4))
            .prop_map(|(which, status, sdp, tag, able)| Step::Answer { which, status, sdp, tag, able }),
        7 => (0u8..4, 0..METHODS.len(), 1u8..7, any::<bool>())
            .prop_map(|(call, method, cseq, sdp)| Step::Caller { call, method, cseq, sdp }),
        3 => (any::<usize>(), 0..METHODS.len(), 1u8..5, any::<bool>())
            .prop_map(|(which, method, cseq, sdp)| Step::Callee { which, method, cseq, sdp }),
        2 => (any::<usize>(), proptest::option::of((any::<usize>(), any::<u8>())))
            .prop_map(|(which, change)| Step::Again { which, change }),
        3 => (0u64..60_000).prop_map(|ms| Step::Wait { ms }),
        1 => Just(Step::MediaTimeout),
        1 => Just(Step::MediaAway),
        2 => Just(Step::MediaBack),
        1 => Just(Step::Restart),
    ]
}

/// What was said so far.
#[derive(Default)]
struct Heard {
    /// Requests that Moorline sent, and to whom.
    requests: Vec<(String, Message)>,
    /// Moorline's last tag in each of the caller's dialogs.
    tags: std::collections::BTreeMap<String, String>,
    /// The last RSeq in each of them.
    numbers: std::collections::BTreeMap<String, String>,
    /// Every datagram that was sent to Moorline.
    datagrams: Vec<(String, String)>,
}

impl Heard {
    fn take(&mut self, net: &mut Net) {
        for (to, message) in net.take_sent() {
            if !message.start().starts_with("SIP/2.0") {
                self.requests.push((to, message));
            } else if let Some((call, tag)) = message
                .find("Call-ID")
                .and_then(|id| id.split('@').next())
                .zip(message.find("To").and_then(|to| to.split(";tag=").nth(1)))
            {
                self.tags.insert(call.to_owned(), tag.to_owned());
                if let Some(number) = message.find("RSeq") {
                    self.numbers.insert(call.to_owned(), number.to_owned());
                }
            }
        }
    }

    fn say(&mut self, net: &mut Net, from: &str, text: String) {
        net.receive(from, &text);
        self.datagrams.push((from.to_owned(), text));
        self.take(net);
    }
}

fn play(steps: Vec<Step>) {
    let mut net = Net::new();
    let mut heard = Heard::default();
    for step in steps {
        match step {
            Step::Invite { call, offer, able } => {
                let body = if offer { sdp("192.0.2.10", 4000) } else { String::new() };
                let text = invite("5551000", &format!("c{call}"), &body);
                heard.say(&mut net, CALLER, if able { with(&text, ABLE) } else { text });
            }
            Step::Answer { which, status, sdp: with_sdp, tag, able } => {
                if heard.requests.is_empty() {
                    continue;
                }
                let (to, request) = heard.requests[which % heard.requests.len()].clone();
                let body = if with_sdp { sdp("198.51.100.20", 6000) } else { String::new() };
                let mut text = answer(&request, STATUSES[status], &format!("t{tag}"), &to, &body);
                if let Some(number) = able {
                    text = with(&text, ABLE);
                    if STATUSES[status].starts_with("18") {
                        text = with(&text, &format!("Require: 100rel\r\nRSeq: {number}\r\n"));
                    }
                }
                heard.say(&mut net, &to, text);
            }
            Step::Caller { call, method, cseq, sdp: with_sdp } => {
                let call = format!("c{call}");
                let body = if with_sdp { sdp("192.0.2.10", 4010) } else { String::new() };
                let text = match (METHODS[method], heard.tags.get(&call)) {
                    ("CANCEL", _) => invite("5551000", &call, "").replace("INVITE", "CANCEL"),
                    (method, Some(tag)) => {
                        let number = heard.numbers.get(&call).map_or("1", String::as_str);
                        let rack = format!("RAck: {number} 1 INVITE\r\n");
                        let state = if cseq % 2 == 0 { "active" } else { "terminated" };
                        with(
                            &caller_request(method, cseq.into(), &call, tag, &body),
                            &format!("{rack}{EVENT}{state}\r\n"),
                        )
                    }
                    ("SUBSCRIBE", None) => {
                        with(&invite("5551000", &call, "").replace("INVITE", "SUBSCRIBE"), "Event: presence\r\n")
                    }
                    (_, None) => continue,
                };
                heard.say(&mut net, CALLER, text);
            }
            Step::Callee { which, method, cseq, sdp: with_sdp } => {
                let invites: Vec<&Message> =
                    heard.requests.iter().map(|(_, m)| m).filter(|m| m.start().contains(" sip:555")).collect();
                let Some(invite) = invites.get(which % invites.len().max(1)).map(|m| (*m).clone()) else { continue };
                let body = if with_sdp { sdp("198.51.100.20", 6010) } else { String::new() };
                let state = if cseq % 2 == 0 { "active" } else { "terminated" };
                let text = callee_request(METHODS[method], cseq.into(), &invite, "t0", &body);
                let text = with(&text, &format!("{EVENT}{state}\r\n"));
                heard.say(&mut net, CALLEE, text);
            }
            Step::Again { which, change } => {
                if heard.datagrams.is_empty() {
                    continue;
                }
                let (from, text) = heard.datagrams[which % heard.datagrams.len()].clone();
                let mut bytes = text.into_bytes();
                if let Some((at, value)) = change {
                    let at = at % bytes.len();
                    // The answers to a changed message are text for the harness all the same.
                    bytes[at] = value & 0x7f;
                }
                net.receive_bytes(&from, &bytes);
                heard.take(&mut net);
            }
            Step::Wait { ms } => {
                net.advance(ms * 1_000_000);
                heard.take(&mut net);
            }
            Step::MediaTimeout => {
                if let Some(session) = net.media.sessions.keys().next().copied() {
                    net.media_event(Event::MediaTimeout { session });
                }
            }
            Step::MediaAway => net.input(Input::Media(MediaInput::Disconnected)),
            Step::MediaBack => net.input(Input::Media(MediaInput::Connected(hello(1)))),
            Step::Restart => net.restart_signaling(policy()),
        }
        heard.take(&mut net);
    }
    net.input(Input::Media(MediaInput::Connected(hello(1))));
    // Whoever was left talking hangs up or reaches the longest duration of a call.
    net.advance(5 * 3600 * SECOND);
    net.nothing_left();
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 2_000, ..ProptestConfig::default() })]

    #[test]
    fn nothing_is_left_whatever_the_parties_do(steps in proptest::collection::vec(step(), 1..60)) {
        play(steps);
    }
}
