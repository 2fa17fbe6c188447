//! A shard on a datapath in memory: what it does between two looks at its packets.

use std::net::SocketAddr;

use moorline_control::{Codec, LegSpec, Play, SessionId, SessionSpec, StreamSpec};
use moorline_relay::{Announcement, Announcements, BindError, Config, EndpointId, Outgoing, Ports, Range};

use super::*;
use crate::datapath::{Judge, MAX_MADE, Setup};

/// What the shard asked of its datapath, in order.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Asked {
    Relay,
    /// So many packets that are made here.
    Emit(usize),
    Bind,
    Unbind,
    Settle,
    Sleep,
}

/// Has no packet to relay. Says stop after some looks at the packets.
struct Script {
    asked: Vec<Asked>,
    packets_wait: bool,
    looks: usize,
    /// From this many looks before the end on there are no packets.
    quiet_from: usize,
    mailbox: Arc<Mailbox>,
}

impl Ports for Script {
    fn bind(&mut self, _: EndpointId, _: SocketAddr) -> Result<(), BindError> {
        self.asked.push(Asked::Bind);
        Ok(())
    }

    fn unbind(&mut self, _: EndpointId) {
        self.asked.push(Asked::Unbind);
    }
}

impl Datapath for Script {
    const NAME: &'static str = "script";

    fn new(_: Setup) -> io::Result<Script> {
        Err(io::ErrorKind::Unsupported.into())
    }

    fn relay(&mut self, _: &mut Tally, _: &mut impl Judge) -> io::Result<usize> {
        self.asked.push(Asked::Relay);
        self.looks -= 1;
        if self.looks == 0 {
            self.mailbox.stop();
        }
        Ok(usize::from(self.packets_wait && self.looks >= self.quiet_from))
    }

    fn emit(&mut self, _: &mut Tally, mut next: impl FnMut(&mut [u8]) -> Option<Outgoing>) -> io::Result<usize> {
        let mut room = [0; MAX_MADE];
        let sent = std::iter::from_fn(|| next(&mut room)).count();
        self.asked.push(Asked::Emit(sent));
        Ok(sent)
    }

    fn waiting(&mut self) -> bool {
        self.packets_wait
    }

    fn sleep(&mut self, _: Duration) -> io::Result<()> {
        self.asked.push(Asked::Sleep);
        Ok(())
    }

    fn settle(&mut self) -> io::Result<()> {
        self.asked.push(Asked::Settle);
        Ok(())
    }
}

fn shard(packets_wait: bool, looks: usize) -> (Shard<Script>, mpsc::Receiver<Said>) {
    let mailbox = Arc::new(Mailbox::new().unwrap());
    let network = "127.0.1.0/24".parse().unwrap();
    let range =
        Range { name: "edge".into(), network, first_port: 20_000, last_port: 29_999, advertised: None, routed: false };
    let config =
        Config { ranges: vec![range], shard: 0, shards: 1, capacity: 1000, port_rest_ns: 0, report_digits: false };
    let (events, said) = mpsc::channel(1000);
    let shard = Shard {
        index: 0,
        relay: Relay::new(config).unwrap(),
        datapath: Script { asked: Vec::new(), packets_wait, looks, quiet_from: 0, mailbox: Arc::clone(&mailbox) },
        offload: None,
        tally: Tally::new().unwrap(),
        mailbox,
        events,
        sequence: 0,
        started_ns: 0,
        held: Held::default(),
        answers: Vec::new(),
        answers_since: 0,
        busy_poll_ns: 0,
        awake_until: 0,
        clock: || 1_000,
    };
    (shard, said)
}

fn post(shard: &Shard<Script>, request: Request) -> oneshot::Receiver<Answer> {
    let (answer, answered) = oneshot::channel();
    assert!(shard.mailbox.post(Letter::Request { owner: Owner(1), request, answer }).is_ok());
    answered
}

fn open(random: u64) -> Request {
    let leg = LegSpec { range: "edge".into(), streams: vec![StreamSpec { active: true, ..StreamSpec::default() }] };
    let spec = SessionSpec { legs: vec![leg.clone(), leg], media_timeout_ms: 0, snapshot: Vec::new() };
    Request::Open { session: id(random), spec }
}

fn id(random: u64) -> SessionId {
    SessionId { node: 0, virtual_shard: 0, random }
}

/// The pieces of work between two looks at the packets, by how often each asked for something.
fn between_looks(asked: &[Asked], what: Asked) -> Vec<usize> {
    asked
        .split(|asked| *asked == Asked::Relay)
        .map(|turn| turn.iter().filter(|asked| **asked == what).count())
        .collect()
}

#[test]
fn with_packets_waiting_one_letter_is_read_between_two_looks_at_them() {
    let (mut shard, _said) = shard(true, 200);
    let answers: Vec<_> = (0..100).map(|n| post(&shard, open(n))).collect();
    shard.run().unwrap();
    let binds = between_looks(&shard.datapath.asked, Asked::Bind);
    assert!(binds.iter().all(|binds| *binds <= 4), "{binds:?}");
    assert_eq!(binds.iter().sum::<usize>(), 400);
    for mut answer in answers {
        assert!(matches!(answer.try_recv().unwrap().reply, Reply::Opened(_)));
    }
}

#[test]
fn a_thousand_sessions_whose_lease_ends_at_once_end_one_by_one_while_packets_wait() {
    let (mut shard, mut said) = shard(true, 1100);
    for n in 0..1000 {
        let Request::Open { session, spec } = open(n) else { panic!("no open") };
        shard.relay.open(1, Owner(1), session, spec, &mut shard.datapath).unwrap();
    }
    shard.relay.release(1, Owner(1), 1);
    shard.run().unwrap();
    let unbinds = between_looks(&shard.datapath.asked, Asked::Unbind);
    assert!(unbinds.iter().all(|unbinds| *unbinds <= 4), "{unbinds:?}");
    let ended = unbinds.iter().sum::<usize>() / 4;
    let settled = shard.datapath.asked.windows(2).filter(|pair| *pair == [Asked::Unbind, Asked::Settle]).count();
    assert_eq!((ended, settled), (1000, 1000), "and each lets go of its ports before the next look");
    let told = std::iter::from_fn(|| said.try_recv().ok()).filter(|said| matches!(said.event, Event::Ended(_))).count();
    assert_eq!(told, 1000);
}

#[test]
fn without_packets_letters_are_read_on_and_answered_together() {
    let (mut shard, _said) = shard(false, 100);
    let answers: Vec<_> = (0..100).map(|n| post(&shard, Request::Query { session: id(n) })).collect();
    shard.run().unwrap();
    assert!(between_looks(&shard.datapath.asked, Asked::Settle).into_iter().any(|letters| letters > 1));
    for (mut answer, sequence) in answers.into_iter().zip(1..) {
        assert_eq!(answer.try_recv().unwrap().sequence, sequence, "in order");
    }
}

#[test]
fn a_shard_that_has_had_packets_looks_for_more_before_it_sleeps_and_an_idle_one_sleeps() {
    thread_local!(static NOW: std::cell::Cell<u64> = const { std::cell::Cell::new(1_000_000) });
    let (mut shard, _said) = shard(true, 40);
    shard.clock = || NOW.replace(NOW.get() + 1_000);
    shard.busy_poll_ns = 10_000;
    shard.datapath.quiet_from = 20;
    shard.run().unwrap();
    let sleeps = between_looks(&shard.datapath.asked, Asked::Sleep);
    let awake = sleeps.iter().take_while(|sleeps| **sleeps == 0).count();
    assert!((20..=31).contains(&awake), "20 looks with packets, and some more: {awake}");
    // The last look is the one that says stop.
    assert!(sleeps[awake..sleeps.len() - 1].iter().all(|sleeps| *sleeps == 1), "then it sleeps each time: {sleeps:?}");
}

#[test]
fn a_shard_that_plays_sends_what_is_due_and_sleeps_until_more_is() {
    let (mut shard, _said) = shard(false, 3);
    let octets = vec![0xd5; 800].into_boxed_slice();
    let announcement = Announcement { name: "short".into(), pcma: octets.clone(), pcmu: octets };
    shard.relay.announce(Arc::new(Announcements::new(vec![announcement])), 1);
    let Request::Open { mut spec, session } = open(1) else { unreachable!() };
    let play = Play { name: "short".into(), codec: Codec::Pcma, payload_type: 8, packet_ms: 20 };
    spec.legs.truncate(1);
    (spec.legs[0].streams[0].play, spec.legs[0].streams[0].remote_rtp) = (Some(play), "127.0.0.9:9".parse().ok());
    let _answer = post(&shard, Request::Open { session, spec });
    shard.run().unwrap();
    assert!(!shard.datapath.asked.iter().any(|asked| matches!(asked, Asked::Emit(_))), "nothing is due yet");
    assert_eq!(shard.relay.next_play(), Some(1_000_000));
    shard.clock = || 1_000_000;
    (shard.datapath.looks, shard.mailbox) = (2, Arc::new(Mailbox::new().unwrap()));
    shard.datapath.mailbox = Arc::clone(&shard.mailbox);
    shard.datapath.asked.clear();
    shard.run().unwrap();
    assert_eq!(shard.datapath.asked[..2], [Asked::Relay, Asked::Emit(1)]);
    assert_eq!(shard.relay.next_play(), Some(21_000_000));
}
