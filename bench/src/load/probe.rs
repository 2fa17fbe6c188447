//! A thin stream of calls without media through a system that others load, to time its answers by the
//! kernel's clock. Nothing is sent again: a call of which a message is lost has failed.

use std::collections::VecDeque;
use std::io::{self, IoSliceMut};
use std::net::{SocketAddr, UdpSocket};
use std::os::fd::{AsFd, AsRawFd};
use std::time::Duration;

use nix::poll::{PollFd, PollFlags, ppoll};
use nix::sys::socket::{MsgFlags, SockaddrStorage, recvmsg, setsockopt, sockopt};

use super::Transport;
use super::dialog::{Dialog, answer, answer_address};
use super::message::{Message, Start};
use crate::media::receive::{socket_address, stamp_of};
use crate::{Histogram, clock};

/// The calls to place, one after the other.
#[derive(Debug, Clone)]
pub struct Probe {
    /// How many.
    pub calls: u32,
    /// Calls placed per second.
    pub rate_per_s: f64,
    /// How long each is up.
    pub talk: Duration,
    /// Where INVITEs go.
    pub target: SocketAddr,
    /// The caller's local address.
    pub caller: SocketAddr,
    /// The called party's local address, where the target sends the calls.
    pub called: SocketAddr,
    /// The called number.
    pub number: String,
}

/// What became of the calls.
#[derive(Debug, Clone, Default)]
pub struct ProbeReport {
    /// From the INVITE's sending to the 200's arrival at the caller's socket.
    pub answer: Histogram,
    /// Calls that went through to the 200 for their BYE.
    pub completed: u32,
    /// The others.
    pub failed: u32,
}

/// How long the last call may take to end.
const PATIENCE_NS: u64 = 3_000_000_000;

/// Long enough for any message of these calls.
const LONGEST: usize = 8192;

const OFFER: &str = "v=0\r\no=probe 1 1 IN IP4 127.0.0.1\r\ns=-\r\nc=IN IP4 127.0.0.1\r\nt=0 0\r\n\
    m=audio 40000 RTP/AVP 8 0 101\r\na=rtpmap:8 PCMA/8000\r\na=rtpmap:0 PCMU/8000\r\n\
    a=rtpmap:101 telephone-event/8000\r\na=ptime:20\r\na=sendrecv\r\n";
const ANSWER: &str = "v=0\r\no=probe 2 1 IN IP4 127.0.0.1\r\ns=-\r\nc=IN IP4 127.0.0.1\r\nt=0 0\r\n\
    m=audio 41000 RTP/AVP 8 101\r\na=rtpmap:8 PCMA/8000\r\na=rtpmap:101 telephone-event/8000\r\n\
    a=ptime:20\r\na=sendrecv\r\n";

struct Call {
    dialog: Dialog,
    /// `CLOCK_MONOTONIC`.
    invited_at: u64,
    is_answered: bool,
    is_over: bool,
}

struct Probing<'a> {
    probe: &'a Probe,
    caller: UdpSocket,
    called: UdpSocket,
    calls: Vec<Call>,
    /// When calls are to be hung up, in the order of time.
    hang_ups: VecDeque<(u64, usize)>,
    report: ProbeReport,
    buffer: Box<[u8; LONGEST]>,
    /// [`clock::realtime_offset`], once for all.
    offset: u64,
}

/// Places the calls and waits for their ends, in this thread.
pub fn probe(probe: &Probe) -> io::Result<ProbeReport> {
    let mut probing = Probing {
        probe,
        caller: bind(probe.caller)?,
        called: bind(probe.called)?,
        calls: Vec::new(),
        hang_ups: VecDeque::new(),
        report: ProbeReport::default(),
        buffer: Box::new([0; LONGEST]),
        offset: clock::realtime_offset(),
    };
    let step = clock::nanos(Duration::from_secs_f64(1.0 / probe.rate_per_s.max(0.001)));
    let mut place_at = clock::monotonic();
    let mut give_up = None;
    while probing.report.completed < probe.calls {
        let now = clock::monotonic();
        if probing.calls.len() < probe.calls as usize && now >= place_at {
            probing.place(now);
            place_at += step / 2 + scattered(probing.calls.len(), step);
        }
        while let Some((at, number)) = probing.hang_ups.front().copied().filter(|(at, _)| *at <= now) {
            probing.hang_ups.pop_front();
            probing.hang_up(number, at);
        }
        if probing.calls.len() == probe.calls as usize {
            let end = *give_up.get_or_insert(now + clock::nanos(probe.talk) + PATIENCE_NS);
            if now >= end {
                break;
            }
            place_at = end;
        }
        let next = probing.hang_ups.front().map_or(place_at, |(at, _)| place_at.min(*at));
        probing.wait(next)?;
        probing.receive_at_called();
        probing.receive_at_caller();
    }
    probing.report.failed = probe.calls - probing.report.completed;
    Ok(probing.report)
}

impl Probing<'_> {
    fn place(&mut self, now: u64) {
        let Probe { target, caller, number, .. } = self.probe;
        let call = self.calls.len();
        let dialog = Dialog {
            call_id: format!("probe-{now:x}-{call}"),
            local: format!("<sip:probe@{caller}>;tag={call}c{now:x}"),
            remote: format!("<sip:{number}@{target}>"),
            target: format!("sip:{number}@{target}"),
            routes: Vec::new(),
            cseq: 1,
            address: *caller,
            transport: Transport::Udp,
            fallback: *target,
        };
        let bytes = dialog.request("INVITE", 1, &format!("{now:x}.{call}.inv"), "", OFFER);
        let call = Call { dialog, invited_at: clock::monotonic(), is_answered: false, is_over: false };
        self.calls.push(call);
        // What a send error loses shows as a failed call.
        let _ = self.caller.send_to(&bytes, target);
    }

    fn hang_up(&mut self, number: usize, at: u64) {
        let Some(call) = self.calls.get(number) else { return };
        let bytes = call.dialog.request("BYE", 2, &format!("{at:x}.{number}.bye"), "", "");
        let _ = self.caller.send_to(&bytes, call.dialog.destination());
    }

    fn wait(&self, next: u64) -> io::Result<()> {
        let mut fds = [&self.caller, &self.called].map(|socket| PollFd::new(socket.as_fd(), PollFlags::POLLIN));
        let wait = Duration::from_nanos(next.saturating_sub(clock::monotonic()));
        match ppoll(&mut fds, Some(wait.into()), None) {
            Ok(_) | Err(nix::errno::Errno::EINTR) => Ok(()),
            Err(errno) => Err(errno.into()),
        }
    }

    /// The called party keeps no state: it answers all that it is asked at once.
    fn receive_at_called(&mut self) {
        let contact = format!("Contact: <sip:probe@{}>\r\n", self.probe.called);
        while let Some((length, source, _)) = receive(&self.called, self.buffer.as_mut_slice(), self.offset) {
            let Some(message) = self.buffer.get(..length).and_then(Message::parse) else { continue };
            let bytes = match &message.start {
                Start::Request { method, .. } if method == "INVITE" => {
                    answer(&message, source, (200, "OK"), "probed", &contact, ANSWER)
                }
                Start::Request { method, .. } if method != "ACK" => {
                    answer(&message, source, (200, "OK"), "probed", "", "")
                }
                _ => continue,
            };
            let _ = self.called.send_to(&bytes, answer_address(&message, source));
        }
    }

    fn receive_at_caller(&mut self) {
        while let Some((length, _, at)) = receive(&self.caller, self.buffer.as_mut_slice(), self.offset) {
            let Some(message) = self.buffer.get(..length).and_then(Message::parse) else { continue };
            let Start::Response { status: 200..300, .. } = message.start else { continue };
            let number = message.header("Call-ID").and_then(|id| id.rsplit('-').next()?.parse::<usize>().ok());
            let known = number.and_then(|number| Some((number, self.calls.get_mut(number)?)));
            let Some((number, call)) = known.filter(|(_, call)| !call.is_over) else { continue };
            match message.cseq() {
                Some((_, "INVITE")) => {
                    call.dialog.remote = message.header("To").unwrap_or_default().to_owned();
                    call.dialog.routes = message.record_route();
                    call.dialog.routes.reverse();
                    call.dialog.target = message.contact().unwrap_or_default();
                    let ack = call.dialog.request("ACK", 1, &format!("{at:x}.{number}.ack"), "", "");
                    let _ = self.caller.send_to(&ack, call.dialog.destination());
                    if !std::mem::replace(&mut call.is_answered, true) {
                        self.report.answer.saturating_record(at.saturating_sub(call.invited_at));
                        self.hang_ups.push_back((at + clock::nanos(self.probe.talk), number));
                    }
                }
                Some((_, "BYE")) => {
                    call.is_over = true;
                    self.report.completed += 1;
                }
                _ => {}
            }
        }
    }
}

/// The `index`th of values spread evenly over 0 to `step`: even steps would meet the load, which comes in bursts
/// of the kernel's tick, always at the same phase.
fn scattered(index: usize, step: u64) -> u64 {
    // The golden ratio's fractional part in 2^32ths: its multiples fill a circle most evenly.
    const TURN: u32 = 2_654_435_769;
    let phase = TURN.wrapping_mul(index as u32);
    ((u128::from(step) * u128::from(phase)) >> 32) as u64
}

fn bind(address: SocketAddr) -> io::Result<UdpSocket> {
    let socket = UdpSocket::bind(address)?;
    socket.set_nonblocking(true)?;
    setsockopt(&socket, sockopt::ReceiveTimestampns, &true)?;
    Ok(socket)
}

/// A datagram's length, its source, and when the kernel received it by `CLOCK_MONOTONIC`.
fn receive(socket: &UdpSocket, buffer: &mut [u8], offset: u64) -> Option<(usize, SocketAddr, u64)> {
    let mut slices = [IoSliceMut::new(buffer)];
    let mut space = nix::cmsg_space!(nix::sys::time::TimeSpec);
    let message =
        recvmsg::<SockaddrStorage>(socket.as_raw_fd(), &mut slices, Some(&mut space), MsgFlags::MSG_DONTWAIT).ok()?;
    let stamp = message.cmsgs().ok().and_then(|mut all| all.find_map(stamp_of));
    let at = stamp.map_or_else(clock::monotonic, |at| at.wrapping_sub(offset));
    Some((message.bytes, socket_address(&message.address?)?, at))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn free_address() -> SocketAddr {
        UdpSocket::bind("127.0.0.1:0").unwrap().local_addr().unwrap()
    }

    fn plan(calls: u32, target: SocketAddr, called: SocketAddr) -> Probe {
        let talk = Duration::from_millis(1);
        Probe { calls, rate_per_s: 1000.0, talk, target, caller: free_address(), called, number: "1".into() }
    }

    #[test]
    fn scattered_calls_keep_the_rate() {
        let values: Vec<u64> = (0..1000).map(|index| scattered(index, 1000)).collect();
        assert!(values.iter().all(|value| *value < 1000));
        assert!((490..=510).contains(&(values.iter().sum::<u64>() / 1000)));
        // Each tenth of the step gets its share.
        assert!(
            (0..10).all(|tenth| (95..=105).contains(&values.iter().filter(|value| **value / 100 == tenth).count()))
        );
    }

    #[test]
    fn calls_are_timed() {
        let called = free_address();
        let report = probe(&plan(20, called, called)).unwrap();
        assert_eq!((report.completed, report.failed, report.answer.len()), (20, 0, 20));
        assert!(report.answer.min() > 0);
    }

    #[test]
    fn calls_that_nobody_answers_have_failed() {
        let nobody = UdpSocket::bind("127.0.0.1:0").unwrap();
        let report = probe(&plan(2, nobody.local_addr().unwrap(), free_address())).unwrap();
        assert_eq!((report.completed, report.failed, report.answer.len()), (0, 2, 0));
    }
}
