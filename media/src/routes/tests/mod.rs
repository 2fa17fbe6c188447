//! Next hops in network namespaces.

mod changes;
mod many;
mod stage;

use self::stage::{Followed, Stage, index, ip, nft, over, run, try_ip, wait};
use super::{Answer, Firewall, NextHop, Reason};

const NEAR4: &str = "10.1.0.1";
const NEAR6: &str = "2001:db8:1::1";

#[test]
fn hops_on_the_link_and_by_a_gateway_are_found() {
    run(|_: &Stage| {
        ip("route add 192.0.2.0/24 via 10.1.0.2");
        ip("route add 198.51.100.0/24 via 10.2.0.2 mtu 1400");
        ip("route add 203.0.113.0/24 via inet6 2001:db8:1::2 dev a0");
        ip("route add 2001:db8:9::/48 via 2001:db8:1::2");
        let mut followed = Followed::start(None);
        let all = [
            (NEAR4, "10.1.0.2", over(0)),
            (NEAR4, "192.0.2.7", over(0)),
            (NEAR4, "198.51.100.7", NextHop { mtu: 1400, ..over(1) }),
            (NEAR4, "203.0.113.7", over(0)),
            (NEAR6, "2001:db8:1::2", over(0)),
            (NEAR6, "2001:db8:9::7", over(0)),
            ("::ffff:10.1.0.1", "::ffff:192.0.2.8", over(0)),
        ];
        for (source, destination, next) in all {
            let hop = followed.hop(source, destination);
            followed.leads(hop, next);
        }
        wait("the figures", || followed.routes.figures().valid == 7);
        let figures = followed.routes.figures();
        assert_eq!((figures.followed, figures.changes), (7, 0));
        assert!(figures.questions >= 7 && figures.kept_alive >= 2, "{figures:?}");
    });
}

#[test]
fn what_the_kernel_has_to_send_is_left_to_it() {
    run(|_: &Stage| {
        ip("link add br0 type bridge");
        ip("addr add 10.3.0.1/24 dev br0");
        ip("link set br0 up");
        ip("link add link a0 name mv0 type macvlan mode bridge");
        ip("addr add 10.4.0.1/24 dev mv0");
        ip("link set mv0 up");
        ip("route add unreachable 192.0.2.0/24");
        ip("route add blackhole 198.51.100.0/24");
        ip("-6 route add unreachable 2001:db8:9::/48");
        let mut followed = Followed::start(None);
        let all = [
            (NEAR4, "10.2.0.1", Reason::Local),
            (NEAR4, "127.0.0.1", Reason::Local),
            (NEAR6, "2001:db8:2::1", Reason::Local),
            (NEAR4, "10.1.0.255", Reason::NotUnicast),
            (NEAR4, "224.0.0.1", Reason::NotUnicast),
            (NEAR4, "10.4.0.2", Reason::Device),
            (NEAR4, "192.0.2.7", Reason::NoRoute),
            (NEAR4, "198.51.100.7", Reason::NoRoute),
            (NEAR4, "203.0.113.7", Reason::NoRoute),
            (NEAR6, "2001:db8:9::7", Reason::NoRoute),
            (NEAR6, "2001:db8:77::7", Reason::NoRoute),
            ("10.99.0.1", "10.1.0.2", Reason::NoRoute),
        ];
        for (source, destination, reason) in all {
            assert_eq!(followed.ask(source, destination), Answer::Kernel(reason), "{source} to {destination}");
        }
        // Without a carrier, a bridge is one or the other.
        let bridged = followed.ask(NEAR4, "10.3.0.2");
        assert!(matches!(bridged, Answer::Kernel(Reason::Device | Reason::Down)), "{bridged:?}");
    });
}

#[test]
fn rules_about_addresses_are_kept_and_others_leave_packets_to_the_kernel() {
    run(|_: &Stage| {
        ip("route add 192.0.2.0/24 via 10.1.0.2");
        ip("route add 192.0.2.0/24 via 10.2.0.2 table 77");
        ip("rule add from 10.2.0.1 lookup 77");
        // Of a rule's type of service these are the bits that are compared.
        ip("rule add tos 0x18 to 192.0.2.128/25 lookup 77");
        ip("rule add tos 0x10 to 192.0.2.0/25 lookup 77");
        let mut followed = Followed::start(None);
        let (first, second) = (followed.hop(NEAR4, "192.0.2.7"), followed.hop("10.2.0.1", "192.0.2.7"));
        let third = followed.hop(NEAR4, "192.0.2.200");
        followed.leads(first, over(0));
        followed.leads(second, over(1));
        followed.leads(third, over(1));
        for rule in ["fwmark 1 lookup 77", "ipproto udp sport 5000-6000 lookup 77"] {
            ip(&format!("rule add from 10.1.0.1 {rule}"));
            followed.kept(first, Reason::Policy);
            followed.leads(second, over(1));
            ip(&format!("rule del from 10.1.0.1 {rule}"));
            followed.leads(first, over(0));
        }
        ip("rule add from 10.1.0.1 lookup 77 priority 10");
        followed.leads(first, over(1));
    });
}

#[test]
fn what_ipsec_would_encrypt_is_left_to_the_kernel() {
    run(|_: &Stage| {
        let policy = "src 10.1.0.1/32 dst 10.1.0.0/24 dir out";
        let mut followed = Followed::start(None);
        let hop = followed.hop(NEAR4, "10.1.0.2");
        followed.leads(hop, over(0));
        let template = "tmpl src 10.1.0.1 dst 10.1.0.2 proto esp mode transport";
        if let Err(error) = try_ip(&format!("xfrm policy add {policy} {template}")) {
            eprintln!("left out: {error}");
            return;
        }
        followed.kept(hop, Reason::Encrypted);
        assert_eq!(followed.ask(NEAR4, "10.1.0.77"), Answer::Kernel(Reason::Encrypted));
        ip(&format!("xfrm policy delete {policy}"));
        followed.leads(hop, over(0));
    });
}

#[test]
fn a_firewall_has_the_kernel_send_while_it_is_there_if_it_is_heeded() {
    run(|_: &Stage| {
        let start = |firewall| Followed::with(None, 64, Default::default(), firewall, None);
        let mut heeding = start(Firewall::Heeded);
        let hop = heeding.hop(NEAR4, "10.1.0.2");
        heeding.leads(hop, over(0));
        // What devices and bridges filter, and chains that nothing leads to, look at nothing that goes past routing.
        for table in ["netdev aside", "bridge aside", "ip aside"] {
            if let Err(error) = nft(&format!("add table {table}")) {
                eprintln!("left out: {error}");
                return;
            }
        }
        nft("add chain ip aside called").unwrap();
        for family in ["ip", "ip6", "inet"] {
            nft(&format!("add table {family} wall")).unwrap();
            nft(&format!("add chain {family} wall in {{ type filter hook input priority 0; }}")).unwrap();
            heeding.kept(hop, Reason::Firewall);
            assert_eq!(heeding.ask(NEAR4, "10.1.0.77"), Answer::Kernel(Reason::Firewall));
            // Who begins while it is there knows of it; who does not care goes on.
            assert_eq!(start(Firewall::Heeded).ask(NEAR4, "10.1.0.2"), Answer::Kernel(Reason::Firewall));
            let mut other = start(Firewall::Ignored);
            let by = other.hop(NEAR4, "10.1.0.2");
            other.leads(by, over(0));
            nft(&format!("delete table {family} wall")).unwrap();
            heeding.leads(hop, over(0));
        }
    });
}

#[test]
fn of_several_paths_the_kernels_own_is_taken() {
    run(|_: &Stage| {
        // An address that prefers neither.
        ip("addr add 10.9.0.1/32 dev lo");
        ip("route add 192.0.2.0/24 nexthop via 10.1.0.2 nexthop via 10.2.0.2");
        let mut followed = Followed::start(None);
        let mut taken = [0, 0];
        for n in 1..=40 {
            let destination = format!("192.0.2.{n}");
            let said = ip(&format!("route get {destination} from 10.9.0.1 tos 0xb8 ipproto udp"));
            let path = usize::from(said.contains("dev a1"));
            let hop = followed.hop("10.9.0.1", &destination);
            followed.leads(hop, over(path));
            taken[path] += 1;
        }
        assert!(taken.iter().all(|count| *count > 0), "{taken:?}");
    });
}

#[test]
fn hops_of_a_vlan_device_are_tagged_and_leave_by_its_card() {
    run(|stage: &Stage| {
        if let Err(error) = try_ip("link add link a0 name a0.100 type vlan id 100") {
            eprintln!("left out: {error}");
            return;
        }
        ip("addr add 10.5.0.1/24 dev a0.100");
        ip("link set a0.100 up mtu 1496");
        stage.far("link add link b0 name b0.100 type vlan id 100");
        stage.far("addr add 10.5.0.2/24 dev b0.100");
        stage.far("link set b0.100 up");
        let mut followed = Followed::start(None);
        let hop = followed.hop("10.5.0.1", "10.5.0.2");
        let tagged = NextHop { vlan: 100, mtu: 1496, ..over(0) };
        followed.leads(hop, tagged);
        ip("link set a0 down");
        followed.kept(hop, Reason::Down);
    });
}

#[test]
fn a_range_in_a_vrf_is_routed_by_it() {
    run(|_: &Stage| {
        if let Err(error) = try_ip("link add red type vrf table 77") {
            eprintln!("left out: {error}");
            return;
        }
        ip("link set red up");
        ip("link set a1 master red");
        ip("route add 192.0.2.0/24 via 10.1.0.2");
        ip("route add 192.0.2.0/24 via 10.2.0.2 table 77");
        for interface in ["red", "a1"] {
            let mut followed = Followed::start(Some(interface));
            let hop = followed.hop("10.2.0.1", "192.0.2.7");
            followed.leads(hop, over(1));
        }
    });
}

#[test]
fn a_range_with_an_interface_is_asked_for_by_it_also_when_it_is_made_anew() {
    run(|stage: &Stage| {
        ip("route add 192.0.2.0/24 via 10.1.0.2 metric 1");
        ip("route add 192.0.2.0/24 via 10.2.0.2 metric 2");
        let mut followed = Followed::start(Some("a1"));
        let hop = followed.hop("10.2.0.1", "192.0.2.7");
        followed.leads(hop, over(1));
        let before = index("a1");
        ip("link del a1");
        followed.kept(hop, Reason::NoInterface);
        stage.connect(1);
        ip("route add 192.0.2.0/24 via 10.2.0.2 metric 2");
        assert_ne!(index("a1"), before);
        followed.leads(hop, over(1));
    });
}

#[test]
fn what_a_former_process_left_stays_until_something_changes() {
    run(|_: &Stage| {
        let mut former = Followed::start(None);
        let hop = former.hop(NEAR4, "10.1.0.2");
        former.leads(hop, over(0));
        let board = std::sync::Arc::clone(&former.board);
        drop(former);
        assert_eq!((hop, board.at(hop)), (1, Some(over(0))));
        let mut followed = Followed::with(None, 64, board, Firewall::Ignored, None);
        let other = followed.hop(NEAR4, "10.1.0.2");
        followed.leads(other, over(0));
        assert!(other != hop && followed.board.at(hop) == Some(over(0)), "{other}");
        ip("route add 192.0.2.0/24 via 10.1.0.2");
        wait("the old place to be cleared", || followed.board.at(hop).is_none());
        followed.leads(other, over(0));
    });
}
