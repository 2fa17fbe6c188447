//! Requests whose client leaves at any moment.

use std::future::Future;
use std::pin::pin;
use std::task::{Context, Poll, Waker};

use moorline_control::{LocalSession, VERSION};

use super::*;

const OWNER: Owner = Owner(1);

fn stage(shards: u16) -> (Router, mpsc::UnboundedReceiver<Abandoned>, Vec<Arc<Mailbox>>) {
    let mailboxes: Vec<Arc<Mailbox>> = (0..shards).map(|_| Arc::new(Mailbox::new().unwrap())).collect();
    let (datapath, ranges, profiles) = (String::new(), Vec::new(), Vec::new());
    let hello = ServerHello {
        version: VERSION,
        boot: 1,
        shards,
        capacity: 1,
        datapath,
        ranges,
        profiles,
        announcements: Vec::new(),
    };
    let (router, unsettled) = Router::new(hello, mailboxes.clone(), Vec::new());
    (router, unsettled, mailboxes)
}

fn id(random: u64) -> SessionId {
    SessionId { node: 1, virtual_shard: 0, random }
}

fn open(session: SessionId) -> Request {
    Request::Open { session, spec: SessionSpec { legs: Vec::new(), media_timeout_ms: 0, snapshot: Vec::new() } }
}

/// Answers the next letter of a shard.
fn answer(mailbox: &Mailbox, sequence: u64, reply: Reply) {
    let Some(Letter::Request { answer, .. }) = mailbox.read() else { panic!("a request waits") };
    let _ = answer.send(Answer { sequence, reply });
}

/// Polls once and drops, as a connection does whose client is gone.
fn poll_once<T>(future: impl Future<Output = T>) -> Poll<T> {
    pin!(future).poll(&mut Context::from_waker(Waker::noop()))
}

#[test]
fn a_listing_that_is_left_half_way_goes_on_where_it_was() {
    for first in 0..3 {
        let (router, _unsettled, mailboxes) = stage(3);
        let mut pending = router.route(OWNER, Request::List { after: None });
        for turn in 0..3 {
            assert!(poll_once(router.resolve(&mut pending)).is_pending());
            answer(&mailboxes[(first + turn) % 3], 1, Reply::Listed(Listed::default()));
        }
        assert_eq!(poll_once(router.resolve(&mut pending)), Poll::Ready(Reply::Listed(Listed::default())));
    }
}

#[test]
fn an_answer_that_nobody_waits_for_settles_the_directory() {
    let (router, unsettled, mailboxes) = stage(1);
    let refused = || Reply::Refused(Refusal::new(RefusalCode::OutOfPorts, ""));
    let mut settle = pin!(router.settle(unsettled));
    let mut settle = || assert!(settle.as_mut().poll(&mut Context::from_waker(Waker::noop())).is_pending());
    // The only place: it has to be free again for the next.
    drop(router.route(OWNER, open(id(1))));
    settle();
    answer(&mailboxes[0], 1, refused());
    settle();
    // The same where the client leaves while the answer is being waited for, and where it has come already.
    let mut pending = router.route(OWNER, open(id(2)));
    assert!(poll_once(router.resolve(&mut pending)).is_pending());
    answer(&mailboxes[0], 2, refused());
    drop(pending);
    settle();
    drop(router.route(OWNER, open(id(3))));
    answer(&mailboxes[0], 3, Reply::Opened(LocalSession::default()));
    settle();
    let full = router.route(OWNER, open(id(4)));
    assert!(matches!(full, Pending::Answered(Reply::Refused(refusal)) if refusal.code == RefusalCode::Capacity));
    assert!(matches!(router.route(OWNER, Request::Query { session: id(3) }), Pending::Session(_)));
}

#[test]
fn an_answer_that_was_taken_settles_once() {
    let (router, mut unsettled, mailboxes) = stage(1);
    let mut pending = router.route(OWNER, open(id(1)));
    answer(&mailboxes[0], 1, Reply::Opened(LocalSession::default()));
    assert!(matches!(poll_once(router.resolve(&mut pending)), Poll::Ready(Reply::Opened(_))));
    drop(pending);
    assert!(unsettled.try_recv().is_err());
}
