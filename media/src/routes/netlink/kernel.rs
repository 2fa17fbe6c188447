//! Questions to the kernel, and their answers.

use std::collections::BTreeMap;
use std::io;
use std::net::IpAddr;

use netlink_packet_core::{
    NLM_F_CREATE, NLM_F_DUMP, NLM_F_DUMP_INTR, NLM_F_REQUEST, NetlinkHeader, NetlinkMessage, NetlinkPayload,
};
use netlink_packet_route::link::LinkMessage;
use netlink_packet_route::neighbour::{NeighbourAttribute, NeighbourFlags, NeighbourMessage};
use netlink_packet_route::route::{RouteAttribute, RouteMessage};
use netlink_packet_route::rule::RuleMessage;
use netlink_packet_route::{AddressFamily, RouteNetlinkMessage};
use netlink_sys::protocols::{NETLINK_NETFILTER, NETLINK_ROUTE, NETLINK_XFRM};
use nix::errno::Errno;

use super::wire::{Message, Wire};
use super::{firewall, ipsec, read};
use crate::routes::follow::{Id, Picture, Question, Rules, Way};
use crate::routes::{Firewall, Reason};

/// A list that changes while it is given is asked for again, so often.
const TRIES: usize = 10;
/// Room for the answers to a batch of questions.
const RECEIVE_BUFFER: usize = 1 << 20;

pub(in crate::routes) struct Kernel {
    routes: Wire,
    /// A kernel without IPsec has none.
    policies: Option<Wire>,
    heeded: Firewall,
    /// A kernel without netfilter has none.
    firewall: Option<Wire>,
    sequence: u32,
}

impl Kernel {
    /// # Errors
    /// The kernel's reason.
    pub(in crate::routes) fn open(heeded: Firewall) -> io::Result<Kernel> {
        let routes = Wire::open(NETLINK_ROUTE, &[], RECEIVE_BUFFER)?;
        let policies = Wire::open(NETLINK_XFRM, &[], RECEIVE_BUFFER).ok();
        let firewall = Wire::open(NETLINK_NETFILTER, &[], RECEIVE_BUFFER).ok();
        Ok(Kernel { routes, policies, heeded, firewall, sequence: 0 })
    }

    /// Everything that matters, as it is now.
    ///
    /// # Errors
    /// The kernel's reason.
    pub(in crate::routes) fn picture(&mut self) -> io::Result<Picture> {
        let mut links = Vec::new();
        self.list(RouteNetlinkMessage::GetLink(LinkMessage::default()), |message| {
            if let RouteNetlinkMessage::NewLink(link) = message {
                links.extend(read::link(&link));
            }
        })?;
        let mut neighbours = Vec::new();
        self.list(RouteNetlinkMessage::GetNeighbour(NeighbourMessage::default()), |message| {
            if let RouteNetlinkMessage::NewNeighbour(neighbour) = message {
                neighbours.extend(read::neighbour(&neighbour));
            }
        })?;
        Ok(Picture { links, neighbours, rules: self.rules()? })
    }

    /// All rules that decide by more than addresses.
    ///
    /// # Errors
    /// The kernel's reason.
    pub(in crate::routes) fn rules(&mut self) -> io::Result<Rules> {
        let mut rules = Rules::default();
        for family in [AddressFamily::Inet, AddressFamily::Inet6] {
            let mut question = RuleMessage::default();
            question.header.family = family;
            let listed = self.list(RouteNetlinkMessage::GetRule(question), |message| {
                if let RouteNetlinkMessage::NewRule(rule) = message {
                    rules.narrow.extend(read::narrow(&rule));
                }
            });
            match listed {
                // Without policy routing, or without IPv6, there are none.
                Err(error) if is(&error, Errno::EOPNOTSUPP) || is(&error, Errno::EAFNOSUPPORT) => {}
                listed => listed?,
            }
        }
        self.policies(&mut rules)?;
        rules.firewall = self.heeded == Firewall::Heeded && (firewall::has_legacy_tables() || self.has_chains()?);
        Ok(rules)
    }

    fn policies(&mut self, rules: &mut Rules) -> io::Result<()> {
        let Some(wire) = &mut self.policies else { return Ok(()) };
        self.sequence = self.sequence.wrapping_add(1);
        let sequence = self.sequence;
        wire.send(&ipsec::question(sequence, NLM_F_REQUEST | NLM_F_DUMP))?;
        wire.collect(|message| {
            if message.sequence != sequence {
                return Ok(false);
            }
            if message.kind == ipsec::XFRM_MSG_NEWPOLICY {
                rules.encrypted.extend(ipsec::policy(message.payload));
            }
            message.outcome().transpose().map(|ended| ended.is_some())
        })
    }

    /// Whether nftables has chains that packets pass.
    fn has_chains(&mut self) -> io::Result<bool> {
        let Some(wire) = &mut self.firewall else { return Ok(false) };
        self.sequence = self.sequence.wrapping_add(1);
        let sequence = self.sequence;
        wire.send(&firewall::question(sequence, NLM_F_REQUEST | NLM_F_DUMP))?;
        let mut found = false;
        let listed = wire.collect(|message| {
            if message.sequence != sequence {
                return Ok(false);
            }
            found |= firewall::is_passed(message.kind, message.payload);
            message.outcome().transpose().map(|ended| ended.is_some())
        });
        match listed {
            // A kernel without nftables.
            Err(error) if is(&error, Errno::EINVAL) || is(&error, Errno::EOPNOTSUPP) => Ok(false),
            // Who may not ask does not know.
            Err(error) if is(&error, Errno::EPERM) => Ok(true),
            listed => listed.map(|()| found),
        }
    }

    /// Asks for routes; one answer for each question, in any order.
    ///
    /// # Errors
    /// Only what makes the socket unusable.
    pub(in crate::routes) fn ask(
        &mut self,
        questions: &[(u32, Question)],
    ) -> io::Result<Vec<(u32, Result<Way, Reason>)>> {
        let mut open = BTreeMap::new();
        let mut bytes = Vec::new();
        for (hop, question) in questions {
            let sequence = self.put(&mut bytes, NLM_F_REQUEST, RouteNetlinkMessage::GetRoute(route(question)));
            open.insert(sequence, (*hop, question.destination));
        }
        let mut answers = Vec::with_capacity(questions.len());
        if open.is_empty() {
            return Ok(answers);
        }
        self.routes.send(&bytes)?;
        let collected = self.routes.collect(|message| {
            if let Some((hop, destination)) = open.remove(&message.sequence) {
                answers.push((hop, answer(&message, destination)));
            }
            Ok(open.is_empty())
        });
        match collected {
            // What was not answered, or the answer lost.
            Err(error) if error.kind() == io::ErrorKind::TimedOut || is(&error, Errno::ENOBUFS) => {}
            collected => collected?,
        }
        answers.extend(open.into_values().map(|(hop, _)| (hop, Err(Reason::Unknown))));
        Ok(answers)
    }

    /// Tells the kernel that neighbours are in use: it looks for them, or looks again.
    ///
    /// # Errors
    /// The kernel's reason, for the last that it refused.
    pub(in crate::routes) fn use_neighbours(&mut self, neighbours: &[Id]) -> io::Result<()> {
        let mut bytes = Vec::new();
        for (interface, address) in neighbours {
            let mut message = NeighbourMessage::default();
            message.header.family = family(*address);
            message.header.ifindex = *interface;
            message.header.flags = NeighbourFlags::Use;
            message.attributes.push(NeighbourAttribute::Destination((*address).into()));
            self.put(&mut bytes, NLM_F_REQUEST | NLM_F_CREATE, RouteNetlinkMessage::NewNeighbour(message));
        }
        self.routes.send(&bytes)?;
        // Only refusals are answered, and they are there when the call returns.
        let mut refused = Ok(());
        while let Some(messages) = self.routes.receive()? {
            refused = messages.filter_map(|message| message.outcome()).fold(refused, |_, outcome| outcome);
        }
        refused
    }

    /// Asks for a list.
    fn list(&mut self, question: RouteNetlinkMessage, mut each: impl FnMut(RouteNetlinkMessage)) -> io::Result<()> {
        for _ in 0..TRIES {
            let mut bytes = Vec::new();
            let sequence = self.put(&mut bytes, NLM_F_REQUEST | NLM_F_DUMP, question.clone());
            self.routes.send(&bytes)?;
            let mut interrupted = false;
            self.routes.collect(|message| {
                if message.sequence != sequence {
                    return Ok(false);
                }
                interrupted |= message.flags & NLM_F_DUMP_INTR != 0;
                if let Some(outcome) = message.outcome() {
                    return outcome.map(|()| true);
                }
                if let Some(inner) = inner(&message) {
                    each(inner);
                }
                Ok(false)
            })?;
            if !interrupted {
                return Ok(());
            }
        }
        Err(io::ErrorKind::Interrupted.into())
    }

    /// Adds a message, and answers its number.
    fn put(&mut self, bytes: &mut Vec<u8>, flags: u16, message: RouteNetlinkMessage) -> u32 {
        self.sequence = self.sequence.wrapping_add(1);
        let mut header = NetlinkHeader::default();
        header.flags = flags;
        header.sequence_number = self.sequence;
        let mut message = NetlinkMessage::new(header, NetlinkPayload::from(message));
        message.finalize();
        let at = bytes.len();
        bytes.resize(at + message.buffer_len().next_multiple_of(4), 0);
        message.serialize(&mut bytes[at..]);
        self.sequence
    }
}

fn is(error: &io::Error, errno: Errno) -> bool {
    error.raw_os_error() == Some(errno as i32)
}

fn inner(message: &Message<'_>) -> Option<RouteNetlinkMessage> {
    match NetlinkMessage::deserialize(message.bytes).ok()?.payload {
        NetlinkPayload::InnerMessage(inner) => Some(inner),
        _ => None,
    }
}

fn family(address: IpAddr) -> AddressFamily {
    if address.is_ipv4() { AddressFamily::Inet } else { AddressFamily::Inet6 }
}

fn route(question: &Question) -> RouteMessage {
    let length = if question.destination.is_ipv4() { 32 } else { 128 };
    let mut message = RouteMessage::default();
    message.header.address_family = family(question.destination);
    message.header.destination_prefix_length = length;
    message.header.source_prefix_length = length;
    message.header.tos = question.traffic_class;
    message.attributes = vec![
        RouteAttribute::Destination(question.destination.into()),
        RouteAttribute::Source(question.source.into()),
        RouteAttribute::IpProto(libc::IPPROTO_UDP as u8),
    ];
    message.attributes.extend(question.interface.map(RouteAttribute::Oif));
    message
}

fn answer(message: &Message<'_>, destination: IpAddr) -> Result<Way, Reason> {
    match message.outcome() {
        // Unreachable, prohibited or blackholed; or the source is no address of this host.
        Some(Err(error))
            if [
                Errno::ENETUNREACH,
                Errno::EHOSTUNREACH,
                Errno::EACCES,
                Errno::EINVAL,
                Errno::ENODEV,
                Errno::ENETDOWN,
            ]
            .iter()
            .any(|errno| is(&error, *errno)) =>
        {
            Err(Reason::NoRoute)
        }
        Some(_) => Err(Reason::Unknown),
        None => match inner(message) {
            Some(RouteNetlinkMessage::NewRoute(route)) => read::way(&route, destination),
            _ => Err(Reason::Unknown),
        },
    }
}
