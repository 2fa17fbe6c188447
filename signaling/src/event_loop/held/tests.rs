use std::net::SocketAddr;

use moorline_control::SessionSpec;
use moorline_sip::Transport;

use super::*;
use crate::cdr::hung::{Hung, limits, mark, started, until};
use crate::cdr::{Records, Writer};

/// Something in a dialog.
fn said(call_id: &str) -> Step {
    let remote: SocketAddr = "127.0.0.1:5060".parse().expect("an address");
    let text = format!(
        "SIP/2.0 200 OK\r\nVia: SIP/2.0/UDP 127.0.0.1;branch=z9hG4bKx\r\nFrom: <sip:a@a>;tag=1\r\n\
         To: <sip:b@b>;tag=2\r\nCall-ID: {call_id}\r\nCSeq: 1 INVITE\r\nContent-Length: 0\r\n\r\n"
    );
    Step::Transmit { flow: Flow::new(0, Transport::Udp, remote), bytes: text.into_bytes().into() }
}

fn close(number: u64) -> Step {
    Step::Media { request: 1, body: Request::Close { session: session(number) } }
}

fn no_legs() -> SessionSpec {
    SessionSpec { legs: Vec::new(), media_timeout_ms: 0, snapshot: Vec::new() }
}

fn session(number: u64) -> SessionId {
    mark(number, Stage::Begun).record.id.parse().expect("a session")
}

fn name(step: &Step) -> String {
    match step {
        Step::Transmit { bytes, .. } => {
            let text = String::from_utf8_lossy(bytes);
            let line = text.lines().find_map(|line| line.strip_prefix("Call-ID: ")).expect("a Call-ID");
            line.to_owned()
        }
        Step::Media { body, .. } => format!("{body:?}").split(' ').next().expect("a name").to_owned(),
        Step::Observe(_) => "observation".into(),
        Step::Forwarded(_) => "forwarded".into(),
    }
}

/// A worker's, on a disk that can hang.
struct Stand {
    held: Held,
    index: Box<Index>,
    disk: Arc<Hung>,
    writer: Option<Writer>,
    _records: Records,
    _folder: tempfile::TempDir,
}

impl Stand {
    fn new() -> Stand {
        let folder = tempfile::tempdir().expect("a folder");
        let disk = Arc::new(Hung::default());
        let (records, writer) = started(folder.path(), &disk, &Arc::default());
        let held = Held::new(Some(writer.handover(0)));
        Stand { held, index: Box::new(Index::new()), disk, writer: Some(writer), _records: records, _folder: folder }
    }

    /// Whether it leaves at once.
    fn leaves(&mut self, step: Step) -> bool {
        self.held.hold(&mut self.index, step).is_some()
    }

    fn released(&mut self, now: u64) -> Vec<String> {
        self.held.look(now);
        std::iter::from_fn(|| self.held.next()).map(|step| name(&step)).collect()
    }
}

impl Drop for Stand {
    fn drop(&mut self) {
        if let Some(writer) = self.writer.take() {
            writer.stop(PATIENCE);
        }
    }
}

#[test]
fn what_tells_of_a_step_waits_for_it_in_its_order_and_nothing_else_does() {
    let mut stand = Stand::new();
    let disk = Arc::clone(&stand.disk);
    let hangs = disk.0.lock().expect("no panic");
    stand.held.mark(mark(1, Stage::Answered));
    // The mark of a step may be told after what it is for, and is handed over later.
    assert!(!stand.leaves(said("caller1")));
    assert!(stand.leaves(said("caller2")));
    stand.held.hand_over(5);
    stand.held.mark(mark(2, Stage::Ending));
    assert!(!stand.leaves(said("callee2")) && !stand.leaves(close(2)));
    stand.held.hand_over(6);
    assert!(!stand.leaves(said("caller1")), "behind what was said before");
    assert!(stand.leaves(said("caller3")) && stand.leaves(close(3)));
    // That a call is still up is no news to its parties.
    stand.held.mark(mark(3, Stage::Going));
    assert!(stand.leaves(said("caller3")));
    let update = Request::Update { session: session(1), spec: no_legs() };
    assert!(stand.leaves(Step::Media { request: 2, body: update }));
    stand.held.behind(Step::Forwarded(7));
    assert_eq!(stand.released(8), [""; 0]);
    assert!(stand.held.deadline().is_some());
    drop(hangs);
    let mut released = Vec::new();
    until(|| {
        released.extend(stand.released(9));
        released.len() == 5
    });
    assert_eq!(released, ["caller1", "callee2", "Close", "caller1", "forwarded"]);
    stand.held.hand_over(10);
    until(|| {
        stand.held.look(11);
        stand.held.is_empty()
    });
    assert!(stand.leaves(said("caller1")) && stand.leaves(close(2)));
    assert_eq!(stand.held.deadline(), None);
}

#[test]
fn nothing_waits_for_a_disk_for_longer_than_it_is_given() {
    let mut stand = Stand::new();
    let disk = Arc::clone(&stand.disk);
    let hangs = disk.0.lock().expect("no panic");
    stand.held.mark(mark(1, Stage::Ending));
    assert!(!stand.leaves(said("callee1")));
    stand.held.hand_over(100);
    let deadline = stand.held.deadline().expect("it is waited for");
    assert_eq!(deadline, 100 + nanos(PATIENCE));
    assert_eq!(stand.released(deadline - 1), [""; 0]);
    assert_eq!(stand.released(deadline), ["callee1"]);
    // Now it is known, and nothing waits.
    stand.held.mark(mark(2, Stage::Ending));
    assert!(stand.leaves(said("caller2")) && stand.leaves(said("callee1")));
    stand.held.hand_over(deadline);
    assert_eq!(stand.held.deadline(), None);
    drop(hangs);
    until(|| {
        stand.held.look(deadline);
        stand.held.is_empty()
    });
    // It is waited for again.
    let hangs = disk.0.lock().expect("no panic");
    stand.held.mark(mark(3, Stage::Ending));
    assert!(!stand.leaves(said("caller3")));
    drop(hangs);
}

#[test]
fn nothing_of_an_input_that_counts_a_callee_leaves_before_the_count() {
    let writer = Writer::start(None, limits(), 1).expect("a thread");
    let mut held = Held::new(Some(writer.handover(0)));
    let mut index = Box::new(Index::new());
    assert!(held.counted());
    let open = |number| Request::Open { session: session(number), spec: no_legs() };
    assert!(held.hold(&mut index, Step::Media { request: 1, body: open(1) }).is_none());
    held.next_input();
    assert!(held.hold(&mut index, said("caller1")).is_some());
    assert!(held.hold(&mut index, close(1)).is_none(), "in the order of the session");
    assert!(held.hold(&mut index, Step::Media { request: 1, body: open(2) }).is_some());
    held.hand_over(1);
    let mut released = Vec::new();
    until(|| {
        held.look(2);
        released.extend(std::iter::from_fn(|| held.next()).map(|step| name(&step)));
        released.len() == 2
    });
    assert_eq!(released, ["Open", "Close"]);
    assert!(writer.stop(PATIENCE));
    assert!(!Held::new(None).counted());
}

#[test]
fn a_request_for_a_connection_that_is_gone_is_not_sent_over_the_next() {
    let mut stand = Stand::new();
    let disk = Arc::clone(&stand.disk);
    let hangs = disk.0.lock().expect("no panic");
    stand.held.mark(mark(1, Stage::Ending));
    assert!(!stand.leaves(said("caller1")) && !stand.leaves(close(1)));
    stand.held.disconnected();
    assert!(!stand.leaves(close(1)), "of the next");
    stand.held.hand_over(1);
    drop(hangs);
    let mut released = Vec::new();
    until(|| {
        released.extend(stand.released(2));
        released.len() == 2
    });
    assert_eq!(released, ["caller1", "Close"]);
}
