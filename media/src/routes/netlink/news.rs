//! What the kernel tells by itself.

use std::io;
use std::os::fd::BorrowedFd;

use netlink_packet_core::NetlinkMessage;
use netlink_packet_core::NetlinkPayload::InnerMessage;
use netlink_packet_route::RouteNetlinkMessage;
use netlink_sys::protocols::{NETLINK_NETFILTER, NETLINK_ROUTE, NETLINK_XFRM};
use nix::errno::Errno;

use super::wire::{Message, RECEIVE_BUFFER, Wire};
use super::{firewall, ipsec, read};
use crate::routes::Firewall;
use crate::routes::follow::{Id, Link, RouteChange, Standing};

/// Something happened.
#[derive(Debug, PartialEq, Eq)]
pub(in crate::routes) enum Event {
    /// An interface came, changed, or went.
    Link(u32, Option<Link>),
    Neighbour(Id, Standing),
    Route(RouteChange),
    /// Routing rules, IPsec policies or the firewall changed.
    Rules,
    /// Routes changed, it was not understood which.
    Routes,
    /// Events were lost.
    Lost,
}

// Groups of linux/rtnetlink.h.
const RTNLGRP_LINK: u32 = 1;
const RTNLGRP_NEIGH: u32 = 3;
const RTNLGRP_IPV4_ROUTE: u32 = 7;
const RTNLGRP_IPV4_RULE: u32 = 8;
const RTNLGRP_IPV6_ROUTE: u32 = 11;
const RTNLGRP_IPV6_RULE: u32 = 19;
const RTNLGRP_NEXTHOP: u32 = 32;
const GROUPS: [u32; 6] =
    [RTNLGRP_LINK, RTNLGRP_NEIGH, RTNLGRP_IPV4_ROUTE, RTNLGRP_IPV4_RULE, RTNLGRP_IPV6_ROUTE, RTNLGRP_IPV6_RULE];

// Its kinds of messages.
const RTM_NEWLINK: u16 = 16;
const RTM_DELLINK: u16 = 17;
const RTM_NEWNEIGH: u16 = 28;
const RTM_DELNEIGH: u16 = 29;

pub(in crate::routes) struct News {
    routes: Wire,
    /// A kernel without IPsec has none.
    policies: Option<Wire>,
    /// Where the firewall is heeded. A kernel without nftables has none.
    firewall: Option<Wire>,
}

impl News {
    /// From now on everything is told.
    ///
    /// # Errors
    /// The kernel's reason.
    pub(in crate::routes) fn subscribe(receive_buffer: Option<usize>, heeded: Firewall) -> io::Result<News> {
        let size = receive_buffer.unwrap_or(RECEIVE_BUFFER);
        // Kernels before 5.3 have no next hop objects.
        let groups = [&GROUPS[..], &[RTNLGRP_NEXTHOP]].concat();
        let routes = Wire::open(NETLINK_ROUTE, &groups, size).or_else(|_| Wire::open(NETLINK_ROUTE, &GROUPS, size))?;
        let policies = Wire::open(NETLINK_XFRM, &[ipsec::XFRMNLGRP_POLICY], 64 * 1024).ok();
        let firewall = || Wire::open(NETLINK_NETFILTER, &[firewall::NFNLGRP_NFTABLES], 64 * 1024).ok();
        let firewall = if heeded == Firewall::Heeded { firewall() } else { None };
        Ok(News { routes, policies, firewall })
    }

    pub(in crate::routes) fn descriptors(&self) -> impl Iterator<Item = BorrowedFd<'_>> {
        [Some(&self.routes), self.policies.as_ref(), self.firewall.as_ref()].into_iter().flatten().map(Wire::descriptor)
    }

    /// Hands over what has been told and not yet read, of about `most` pieces. False if nothing is left.
    ///
    /// # Errors
    /// Only what makes the sockets unusable.
    pub(in crate::routes) fn read(&mut self, most: usize, mut each: impl FnMut(Event)) -> io::Result<bool> {
        let more = drain(&mut self.routes, most, |message| event(message).map(&mut each).unwrap_or_default())?;
        match more {
            More::Lost => each(Event::Lost),
            More::Yes | More::No => {}
        }
        for wire in [&mut self.policies, &mut self.firewall].into_iter().flatten() {
            let mut told = false;
            let lost = drain(wire, most, |_| told = true)? == More::Lost;
            if told || lost {
                each(Event::Rules);
            }
        }
        Ok(more != More::No)
    }
}

#[derive(PartialEq, Eq)]
enum More {
    Yes,
    No,
    Lost,
}

fn drain(wire: &mut Wire, most: usize, mut each: impl FnMut(Message<'_>)) -> io::Result<More> {
    for _ in 0..most {
        match wire.receive() {
            Ok(Some(messages)) => messages.for_each(&mut each),
            Ok(None) => return Ok(More::No),
            Err(error) if error.raw_os_error() == Some(Errno::ENOBUFS as i32) => return Ok(More::Lost),
            Err(error) => return Err(error),
        }
    }
    Ok(More::Yes)
}

fn event(message: Message<'_>) -> Option<Event> {
    let Ok(NetlinkMessage { payload: InnerMessage(inner), .. }) = NetlinkMessage::deserialize(message.bytes) else {
        return Some(match message.kind {
            // What cannot be read is not known any more.
            RTM_NEWLINK | RTM_DELLINK | RTM_NEWNEIGH | RTM_DELNEIGH => Event::Lost,
            _ => Event::Routes,
        });
    };
    match inner {
        RouteNetlinkMessage::NewLink(link) => read::link(&link).map(|link| Event::Link(link.index, Some(link))),
        RouteNetlinkMessage::DelLink(link) => read::is_interface(&link).then_some(Event::Link(link.header.index, None)),
        RouteNetlinkMessage::NewNeighbour(neighbour) => {
            read::neighbour(&neighbour).map(|(id, standing)| Event::Neighbour(id, standing))
        }
        RouteNetlinkMessage::DelNeighbour(neighbour) => {
            read::neighbour(&neighbour).map(|(id, _)| Event::Neighbour(id, Standing::Unresolved))
        }
        RouteNetlinkMessage::NewRoute(route) => read::route_change(&route, false).map(Event::Route),
        RouteNetlinkMessage::DelRoute(route) => read::route_change(&route, true).map(Event::Route),
        RouteNetlinkMessage::NewRule(_) | RouteNetlinkMessage::DelRule(_) => Some(Event::Rules),
        _ => Some(Event::Routes),
    }
}
