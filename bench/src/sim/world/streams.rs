//! Streams between Moorline and the parties, where they speak over TCP: they end when the plan says so, or with
//! signaling.

use std::net::SocketAddr;

use moorline_b2bua::Input;
use moorline_sip::transaction::Flow;
use moorline_sip::{Index, Message, Method, Transport};

use super::{Happening, World};
use crate::sim::network::Datagram;

/// The port that a party is called at; those that it calls from are its own affair.
const PORT: u16 = 5060;

/// A stream, which either side has opened.
pub(super) struct Stream {
    /// The party that it leads to.
    party: SocketAddr,
    /// As Moorline sees it.
    pub(super) flow: Flow,
    pub(super) open: bool,
}

impl World {
    /// Where the far end of a flow of Moorline's is.
    pub(super) fn party_at(&self, flow: Flow) -> SocketAddr {
        let stream = self.streams.iter().find(|stream| stream.flow == flow);
        stream.map_or(flow.remote, |stream| stream.party)
    }

    /// The stream that a message of Moorline's goes on, if it is none that has ended.
    pub(super) fn stream_to(&mut self, flow: Flow) -> Option<usize> {
        let open = self.streams.iter().position(|stream| stream.open && stream.flow == flow);
        if open.is_none() && flow.remote.port() == PORT {
            self.streams.push(Stream { party: flow.remote, flow, open: true });
            return Some(self.streams.len() - 1);
        }
        open
    }

    /// The stream that a party's message goes on.
    pub(super) fn stream_from(&mut self, listener: usize, party: SocketAddr) -> usize {
        let ours = |stream: &Stream| stream.open && stream.party == party && stream.flow.listener == listener;
        self.streams.iter().position(ours).unwrap_or_else(|| {
            let remote = SocketAddr::new(party.ip(), 40_000 + self.streams.len() as u16);
            let flow = Flow::new(listener, Transport::Tcp, remote);
            self.streams.push(Stream { party, flow, open: true });
            self.streams.len() - 1
        })
    }

    /// One of the streams ends, and Moorline hears of it now, or when it next sends something there.
    pub(super) fn break_stream(&mut self) {
        let open: Vec<usize> = (0..self.streams.len()).filter(|stream| self.streams[*stream].open).collect();
        if open.is_empty() {
            return;
        }
        let stream = self.random.pick(&open);
        self.streams[stream].open = false;
        let flow = self.streams[stream].flow;
        let at_once = self.random.chance(50);
        self.trace.note(self.now, || format!("the stream of {} ends, known at once: {at_once}", flow.remote));
        for datagram in self.network.lose_stream(stream) {
            self.lost(&datagram);
        }
        if at_once {
            self.tell_worker(Input::Broken { flow });
        }
    }

    /// Moorline has sent something on a stream that has ended. Requests inside dialogs it will send again.
    pub(super) fn sent_in_vain(&mut self, flow: Flow, bytes: &[u8]) {
        let mut index = Index::new();
        if !index.parse(bytes).is_ok_and(comes_again) {
            let (from, to) = (self.policy.listeners[flow.listener].bind, self.party_at(flow));
            self.lost(&Datagram { from, to, bytes: bytes.to_vec(), stream: None });
        }
        self.agenda.push((self.now, Happening::Broken(flow)));
    }

    /// A message is lost that nobody repeats: its call may end in whatever way.
    pub(super) fn lost(&mut self, datagram: &Datagram) {
        let mut index = Index::new();
        let call_id = index.parse(&datagram.bytes).ok().and_then(|message| Some(message.call_id().ok()?.to_vec()));
        let call_id = call_id.unwrap_or_default();
        let found = [datagram.from, datagram.to]
            .into_iter()
            .find_map(|party| self.by_dialog.get(&(party, call_id.clone())))
            .map(|position| self.parties[*position].call);
        match found {
            Some(call) => self.disturbed[call] = true,
            // A first INVITE, which could be of any.
            None => self.disturbed.fill(true),
        }
    }
}

/// A request inside a dialog that is sent again where its stream has ended.
fn comes_again(message: Message<'_>) -> bool {
    let inside = message.to().ok().and_then(|to| to.tag()).is_some();
    inside && !matches!(message.method(), None | Some(Method::Ack | Method::Cancel | Method::Prack))
}
