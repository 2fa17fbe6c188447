//! The kernel's messages in this module's terms.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use ipnet::IpNet;
use netlink_packet_route::AddressFamily;
use netlink_packet_route::link::{
    InfoData, InfoKind, InfoVlan, LinkAttribute, LinkFlags, LinkInfo, LinkLayerType, LinkMessage, VlanProtocol,
    VlanQosMapping,
};
use netlink_packet_route::neighbour::{
    NeighbourAddress, NeighbourAttribute, NeighbourFlags, NeighbourMessage, NeighbourState,
};
use netlink_packet_route::route::{
    RouteAddress, RouteAttribute, RouteLwEnCapType, RouteMessage, RouteMetric, RouteType, RouteVia,
};
use netlink_packet_route::rule::{RuleAttribute, RuleFlags, RuleMessage};

use crate::routes::Reason;
use crate::routes::follow::{Id, Kind, Link, RouteChange, Scope, Standing, Way};

/// Whether a message is about an interface itself: bridges tell of their ports by messages of the same kind.
pub(super) fn is_interface(message: &LinkMessage) -> bool {
    message.header.interface_family == AddressFamily::Unspec
}

pub(super) fn link(message: &LinkMessage) -> Option<Link> {
    let (header, mut info) = (&message.header, &[][..]);
    if !is_interface(message) {
        return None;
    }
    let (mut name, mut mtu, mut mac, mut lower, mut elsewhere) = (String::new(), 0, None, None, false);
    for attribute in &message.attributes {
        match attribute {
            LinkAttribute::IfName(text) => name.clone_from(text),
            LinkAttribute::Mtu(value) => mtu = *value,
            LinkAttribute::Address(bytes) => mac = bytes.as_slice().try_into().ok(),
            LinkAttribute::Link(index) => lower = Some(*index),
            LinkAttribute::LinkNetNsId(_) => elsewhere = true,
            LinkAttribute::LinkInfo(infos) => info = infos,
            _ => {}
        }
    }
    let ethernet = header.link_layer_type == LinkLayerType::Ether && !header.flags.contains(LinkFlags::Noarp);
    Some(Link {
        index: header.index,
        name,
        up: header.flags.contains(LinkFlags::Up | LinkFlags::LowerUp),
        address: mac.filter(|_| ethernet),
        mtu,
        kind: kind(info, lower.filter(|_| !elsewhere)),
    })
}

fn kind(info: &[LinkInfo], lower: Option<u32>) -> Kind {
    let kind = info.iter().find_map(|info| match info {
        LinkInfo::Kind(kind) => Some(kind),
        _ => None,
    });
    let vlan = info.iter().find_map(|info| match info {
        LinkInfo::Data(InfoData::Vlan(vlan)) => Some(vlan.as_slice()),
        _ => None,
    });
    match (kind, vlan, lower) {
        (None | Some(InfoKind::Veth | InfoKind::Bond), _, _) => Kind::Card,
        (Some(InfoKind::Vlan), Some(vlan), Some(lower)) => self::vlan(vlan, lower).unwrap_or(Kind::Other),
        _ => Kind::Other,
    }
}

fn vlan(attributes: &[InfoVlan], lower: u32) -> Option<Kind> {
    let (mut id, mut priorities) = (None, Vec::new());
    for attribute in attributes {
        match attribute {
            InfoVlan::Id(number) => id = Some(*number),
            InfoVlan::Protocol(protocol) if *protocol != VlanProtocol::Ieee8021Q => return None,
            InfoVlan::EgressQos(mappings) => priorities.extend(mappings.iter().filter_map(|mapping| match mapping {
                VlanQosMapping::Mapping(from, to) => Some((*from, *to)),
                _ => None,
            })),
            _ => {}
        }
    }
    Some(Kind::Vlan { lower, id: id?, priorities })
}

pub(super) fn neighbour(message: &NeighbourMessage) -> Option<(Id, Standing)> {
    if message.header.flags.contains(NeighbourFlags::Proxy) {
        return None;
    }
    let (mut ip, mut mac) = (None, None);
    for attribute in &message.attributes {
        match attribute {
            NeighbourAttribute::Destination(NeighbourAddress::Inet(v4)) => ip = Some(IpAddr::V4(*v4)),
            NeighbourAttribute::Destination(NeighbourAddress::Inet6(v6)) => ip = Some(IpAddr::V6(*v6)),
            NeighbourAttribute::LinkLayerAddress(bytes) => mac = <[u8; 6]>::try_from(bytes.as_slice()).ok(),
            _ => {}
        }
    }
    let standing = match (message.header.state, mac) {
        (NeighbourState::Permanent | NeighbourState::Noarp, Some(address)) => {
            Standing::Resolved { address, stale: false, fixed: true }
        }
        (NeighbourState::Stale, Some(address)) => Standing::Resolved { address, stale: true, fixed: false },
        (NeighbourState::Reachable | NeighbourState::Delay | NeighbourState::Probe, Some(address)) => {
            Standing::Resolved { address, stale: false, fixed: false }
        }
        _ => Standing::Unresolved,
    };
    Some(((message.header.ifindex, ip?), standing))
}

/// What the kernel does with packets to `destination`.
pub(super) fn way(message: &RouteMessage, destination: IpAddr) -> Result<Way, Reason> {
    match message.header.kind {
        RouteType::Unicast => {}
        RouteType::Local => return Err(Reason::Local),
        RouteType::Broadcast | RouteType::Multicast | RouteType::Anycast => return Err(Reason::NotUnicast),
        RouteType::BlackHole | RouteType::Unreachable | RouteType::Prohibit => return Err(Reason::NoRoute),
        _ => return Err(Reason::Unknown),
    }
    let (mut interface, mut next, mut mtu) = (None, destination, None);
    for attribute in &message.attributes {
        match attribute {
            RouteAttribute::Oif(index) => interface = Some(*index),
            RouteAttribute::EncapType(kind) if *kind != RouteLwEnCapType::None => return Err(Reason::Encapsulated),
            RouteAttribute::Metrics(metrics) => {
                mtu = metrics.iter().find_map(|metric| match metric {
                    RouteMetric::Mtu(mtu) if *mtu > 0 => Some(*mtu),
                    _ => None,
                });
            }
            attribute => next = gateway(attribute).unwrap_or(next),
        }
    }
    interface.map(|interface| Way { interface, next, mtu }).ok_or(Reason::Unknown)
}

fn gateway(attribute: &RouteAttribute) -> Option<IpAddr> {
    match attribute {
        RouteAttribute::Gateway(RouteAddress::Inet(v4)) | RouteAttribute::Via(RouteVia::Inet(v4)) => Some((*v4).into()),
        RouteAttribute::Gateway(RouteAddress::Inet6(v6)) | RouteAttribute::Via(RouteVia::Inet6(v6)) => {
            Some((*v6).into())
        }
        _ => None,
    }
}

pub(super) fn route_change(message: &RouteMessage, gone: bool) -> Option<RouteChange> {
    let (header, mut interface, mut next) = (&message.header, None, None);
    let mut destination = match header.address_family {
        AddressFamily::Inet => IpAddr::V4(Ipv4Addr::UNSPECIFIED),
        AddressFamily::Inet6 => IpAddr::V6(Ipv6Addr::UNSPECIFIED),
        _ => return None,
    };
    for attribute in &message.attributes {
        match attribute {
            RouteAttribute::Destination(RouteAddress::Inet(v4)) => destination = (*v4).into(),
            RouteAttribute::Destination(RouteAddress::Inet6(v6)) => destination = (*v6).into(),
            RouteAttribute::Oif(index) => interface = Some(*index),
            attribute => next = gateway(attribute).or(next),
        }
    }
    Some(RouteChange {
        destination: IpNet::new(destination, header.destination_prefix_length).ok()?,
        local: header.kind == RouteType::Local,
        gone: gone.then_some((interface, next)),
    })
}

// Attributes of linux/fib_rules.h that the crate does not name. The traffic class is told to the kernel.
const FRA_PAD: u16 = 18;
const FRA_DSCP: u16 = 25;
const FRA_DSCP_MASK: u16 = 30;

/// The addresses of a rule, if it looks at more than what the kernel is told when it is asked.
pub(super) fn narrow(message: &RuleMessage) -> Option<Scope> {
    use netlink_packet_core::Nla;

    let (header, mut narrow, mut from, mut to) = (&message.header, false, None, None);
    for attribute in &message.attributes {
        match attribute {
            RuleAttribute::Source(ip) => from = IpNet::new(*ip, header.src_len).ok(),
            RuleAttribute::Destination(ip) => to = IpNet::new(*ip, header.dst_len).ok(),
            RuleAttribute::FwMark(_)
            | RuleAttribute::FwMask(_)
            | RuleAttribute::TunId(_)
            | RuleAttribute::SourcePortRange(_)
            | RuleAttribute::DestinationPortRange(_) => narrow = true,
            RuleAttribute::Other(other) => narrow |= !matches!(other.kind(), FRA_PAD | FRA_DSCP | FRA_DSCP_MASK),
            _ => {}
        }
    }
    if header.flags.contains(RuleFlags::Invert) {
        (from, to) = (None, None);
    }
    let v4 = header.family == AddressFamily::Inet;
    (narrow && (v4 || header.family == AddressFamily::Inet6)).then_some(Scope { v4, from, to })
}

#[cfg(test)]
mod tests {
    use netlink_packet_core::DefaultNla;

    use super::*;

    fn message(attributes: Vec<LinkAttribute>) -> LinkMessage {
        let mut message = LinkMessage::default();
        message.header.index = 7;
        message.header.link_layer_type = LinkLayerType::Ether;
        message.header.flags = LinkFlags::Up | LinkFlags::LowerUp;
        message.attributes = vec![LinkAttribute::IfName("x".into()), LinkAttribute::Mtu(1500)];
        message.attributes.extend([LinkAttribute::Address(vec![2, 0, 0, 0, 0, 7])]);
        message.attributes.extend(attributes);
        message
    }

    fn kind_of(attributes: Vec<LinkAttribute>) -> Kind {
        link(&message(attributes)).unwrap().kind
    }

    fn vlan_on(lower: u32, data: Vec<InfoVlan>) -> Vec<LinkAttribute> {
        let info = vec![LinkInfo::Kind(InfoKind::Vlan), LinkInfo::Data(InfoData::Vlan(data))];
        vec![LinkAttribute::Link(lower), LinkAttribute::LinkInfo(info)]
    }

    #[test]
    fn a_vlan_device_is_read_with_its_card_number_and_priorities() {
        let mappings = vec![VlanQosMapping::Mapping(4, 5), VlanQosMapping::Mapping(6, 6)];
        let data = vec![InfoVlan::Protocol(VlanProtocol::Ieee8021Q), InfoVlan::Id(100), InfoVlan::EgressQos(mappings)];
        let expected = Kind::Vlan { lower: 3, id: 100, priorities: vec![(4, 5), (6, 6)] };
        assert_eq!(kind_of(vlan_on(3, data.clone())), expected);
        let elsewhere = [vlan_on(3, data), vec![LinkAttribute::LinkNetNsId(0)]].concat();
        assert_eq!(kind_of(elsewhere), Kind::Other, "its card is in another namespace");
        let service = vec![InfoVlan::Protocol(VlanProtocol::Ieee8021Ad), InfoVlan::Id(100)];
        assert_eq!(kind_of(vlan_on(3, service)), Kind::Other);
        assert_eq!(kind_of(vlan_on(3, vec![])), Kind::Other, "without a number");
    }

    #[test]
    fn frames_are_put_on_cards_only() {
        let of_kind = |kind| kind_of(vec![LinkAttribute::LinkInfo(vec![LinkInfo::Kind(kind)])]);
        assert_eq!(kind_of(vec![]), Kind::Card);
        for kind in [InfoKind::Veth, InfoKind::Bond] {
            assert_eq!(of_kind(kind), Kind::Card);
        }
        for kind in [InfoKind::Bridge, InfoKind::Vrf, InfoKind::MacVlan, InfoKind::Wireguard, InfoKind::Dummy] {
            assert_eq!(of_kind(kind), Kind::Other);
        }
    }

    #[test]
    fn an_interface_without_neighbours_has_no_address_and_a_port_of_a_bridge_is_no_news() {
        let read = |change: &dyn Fn(&mut LinkMessage)| {
            let mut message = message(vec![]);
            change(&mut message);
            link(&message)
        };
        assert_eq!(read(&|_| {}).unwrap().address, Some([2, 0, 0, 0, 0, 7]));
        assert_eq!(read(&|m| m.header.flags |= LinkFlags::Noarp).unwrap().address, None);
        assert_eq!(read(&|m| m.header.link_layer_type = LinkLayerType::Loopback).unwrap().address, None);
        assert!(!read(&|m| m.header.flags = LinkFlags::Up).unwrap().up, "no carrier");
        assert!(read(&|m| m.header.interface_family = AddressFamily::Bridge).is_none());
    }

    #[test]
    fn rules_are_narrow_by_what_the_kernel_cannot_be_told() {
        let rule = |attribute| {
            let mut message = RuleMessage::default();
            (message.header.family, message.header.src_len) = (AddressFamily::Inet, 24);
            message.attributes = vec![RuleAttribute::Source("10.0.0.0".parse().unwrap()), attribute];
            message
        };
        let scope = Scope { v4: true, from: "10.0.0.0/24".parse().ok(), to: None };
        for told in [RuleAttribute::Table(7), RuleAttribute::Oifname("eth0".into()), RuleAttribute::L3MDev(true)] {
            assert_eq!(narrow(&rule(told)), None);
        }
        assert_eq!(narrow(&rule(RuleAttribute::FwMark(1))), Some(scope));
        assert_eq!(narrow(&rule(RuleAttribute::Other(DefaultNla::new(FRA_DSCP, vec![46])))), None);
        assert_eq!(narrow(&rule(RuleAttribute::Other(DefaultNla::new(99, vec![])))), Some(scope), "not known");
        let mut inverted = rule(RuleAttribute::FwMark(1));
        inverted.header.flags = RuleFlags::Invert;
        assert_eq!(narrow(&inverted), Some(Scope { from: None, ..scope }));
    }
}
