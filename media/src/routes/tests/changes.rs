//! Neighbours, routes and links that change under hops in use.

use super::stage::{FAR, Followed, Stage, index, ip, over, run, wait};
use super::{NEAR4, NEAR6};
use crate::routes::{Answer, Firewall, NextHop, Reason};

const MOVED: [u8; 6] = [2, 0, 0, 0, 9, 9];

/// The kernel trusts neighbours for about so long, and gives them up sooner than it usually does.
fn impatient(interface: &str, trust_ms: u32) {
    let all = [("base_reachable_time_ms", trust_ms), ("delay_first_probe_time", 1), ("retrans_time_ms", 100)];
    for (name, value) in all {
        for family in ["ipv4", "ipv6"] {
            std::fs::write(format!("/proc/sys/net/{family}/neigh/{interface}/{name}"), value.to_string()).unwrap();
        }
    }
}

#[test]
fn a_neighbour_that_appears_later_is_found() {
    run(|stage: &Stage| {
        impatient("a0", 300);
        let mut followed = Followed::start(None);
        let hop = followed.hop(NEAR4, "10.1.0.3");
        followed.kept(hop, Reason::Unresolved);
        stage.far("addr add 10.1.0.3/24 dev b0");
        followed.leads(hop, over(0));
        stage.far("addr del 10.1.0.3/24 dev b0");
        ip("neigh del 10.1.0.3 dev a0");
        followed.kept(hop, Reason::Unresolved);
    });
}

#[test]
fn a_neighbour_that_is_told_to_have_another_address_is_followed() {
    run(|_: &Stage| {
        ip("route add 192.0.2.0/24 via 10.1.0.2");
        let mut followed = Followed::start(None);
        let all =
            [(followed.hop(NEAR4, "192.0.2.7"), "10.1.0.2"), (followed.hop(NEAR6, "2001:db8:1::2"), "2001:db8:1::2")];
        for (hop, neighbour) in all {
            followed.leads(hop, over(0));
            ip(&format!("neigh replace {neighbour} lladdr 02:00:00:00:09:09 dev a0 nud reachable"));
            followed.leads(hop, NextHop { destination: MOVED, ..over(0) });
            // Forgotten, it is looked for and found again.
            ip(&format!("neigh del {neighbour} dev a0"));
            followed.leads(hop, over(0));
        }
    });
}

#[test]
fn a_neighbour_that_moves_silently_is_found_out_by_use() {
    run(|stage: &Stage| {
        impatient("a0", 300);
        let mut followed = Followed::start(None);
        let (hop4, hop6) = (followed.hop(NEAR4, "10.1.0.2"), followed.hop(NEAR6, "2001:db8:1::2"));
        followed.leads(hop4, over(0));
        followed.leads(hop6, over(0));
        stage.far("link set b0 address 02:00:00:00:09:09");
        followed.leads(hop4, NextHop { destination: MOVED, ..over(0) });
        followed.leads(hop6, NextHop { destination: MOVED, ..over(0) });
    });
}

#[test]
fn a_neighbour_in_use_is_kept_alive_though_the_kernel_sees_no_traffic() {
    run(|_: &Stage| {
        impatient("a0", 2000);
        let mut followed = Followed::start(None);
        let hop = followed.hop(NEAR4, "10.1.0.2");
        followed.leads(hop, over(0));
        // Looked for, and then distrusted twice.
        wait("it to be used again and again", || {
            assert_eq!(followed.board.at(hop), Some(over(0)));
            followed.routes.figures().kept_alive >= 3
        });
        assert!(!ip("neigh show dev a0").contains("FAILED"));
        assert_eq!(followed.routes.figures().changes, 0);
    });
}

#[test]
fn a_neighbour_set_by_hand_stays_so() {
    run(|_: &Stage| {
        ip("neigh replace 10.1.0.2 lladdr 02:00:00:00:09:09 dev a0 nud permanent");
        let mut followed = Followed::start(None);
        let hop = followed.hop(NEAR4, "10.1.0.2");
        followed.leads(hop, NextHop { destination: MOVED, ..over(0) });
        let other = followed.hop(NEAR6, "2001:db8:1::2");
        followed.leads(other, over(0));
        assert!(followed.routes.figures().kept_alive > 0);
        assert!(ip("neigh show 10.1.0.2 dev a0").contains("PERMANENT"));
    });
}

#[test]
fn a_route_that_is_replaced_or_removed_is_followed() {
    run(|_: &Stage| {
        ip("route add 192.0.2.0/24 via 10.1.0.2");
        ip("-6 route add 2001:db8:9::/48 via 2001:db8:1::2");
        let mut followed = Followed::start(None);
        let (hop4, hop6) = (followed.hop(NEAR4, "192.0.2.7"), followed.hop(NEAR6, "2001:db8:9::7"));
        followed.leads(hop4, over(0));
        followed.leads(hop6, over(0));
        ip("route replace 192.0.2.0/24 via 10.2.0.2");
        followed.leads(hop4, over(1));
        ip("-6 route replace 2001:db8:9::/48 via 2001:db8:2::2");
        followed.leads(hop6, over(1));
        ip("route add 192.0.2.7 via 10.1.0.2 mtu 1300");
        followed.leads(hop4, NextHop { mtu: 1300, ..over(0) });
        ip("route del 192.0.2.7");
        followed.leads(hop4, over(1));
        ip("route del 192.0.2.0/24");
        followed.kept(hop4, Reason::NoRoute);
        ip("route add default via 10.1.0.2");
        followed.leads(hop4, over(0));
        ip("-6 route del 2001:db8:9::/48");
        followed.kept(hop6, Reason::NoRoute);
        ip("route add unreachable 192.0.2.0/24");
        followed.kept(hop4, Reason::NoRoute);
        assert_eq!(followed.ask(NEAR4, "192.0.2.7"), Answer::Kernel(Reason::NoRoute));
        // An address of this host now.
        ip("route del unreachable 192.0.2.0/24");
        followed.leads(hop4, over(0));
        ip("addr add 192.0.2.7/32 dev lo");
        followed.kept(hop4, Reason::Local);
    });
}

#[test]
fn a_link_that_goes_down_and_comes_up_is_followed() {
    run(|stage: &Stage| {
        ip("route add 192.0.2.0/24 via 10.1.0.2 metric 1");
        let mut followed = Followed::start(None);
        let (hop4, hop6) = (followed.hop(NEAR4, "192.0.2.7"), followed.hop(NEAR6, "2001:db8:1::2"));
        followed.leads(hop4, over(0));
        followed.leads(hop6, over(0));
        // The cable.
        stage.far("link set b0 down");
        followed.kept(hop4, Reason::Down);
        wait("IPv6 to go as well", || followed.reader.read(hop6).is_none());
        stage.far("link set b0 up");
        stage.far("addr replace 2001:db8:1::2/64 dev b0 nodad");
        followed.leads(hop4, over(0));
        followed.leads(hop6, over(0));
        // The interface; its routes go along, and those by another one remain.
        ip("link set a0 down");
        followed.kept(hop4, Reason::NoRoute);
        ip("route add 192.0.2.0/24 via 10.2.0.2 metric 2");
        followed.leads(hop4, over(1));
        ip("link set a0 up");
        wait("the cable", || ip("-o link show a0").contains("LOWER_UP"));
        ip("route add 192.0.2.0/24 via 10.1.0.2 metric 1");
        followed.leads(hop4, over(0));
        // Its own address and its longest packet.
        ip("link set a0 address 02:00:00:00:08:08");
        followed.leads(hop4, NextHop { source: [2, 0, 0, 0, 8, 8], ..over(0) });
        ip("link set a0 mtu 1280");
        followed.leads(hop4, NextHop { source: [2, 0, 0, 0, 8, 8], mtu: 1280, ..over(0) });
        assert_eq!(followed.reader.read(hop4).unwrap().interface, index("a0"));
    });
}

#[test]
fn after_lost_events_everything_is_right_again() {
    run(|_: &Stage| {
        ip("route add 192.0.2.0/24 via 10.1.0.2");
        // Room for hardly any event.
        let mut followed = Followed::with(None, 64, std::sync::Arc::default(), Firewall::Ignored, Some(2048));
        let hop = followed.hop(NEAR4, "192.0.2.7");
        followed.leads(hop, over(0));
        let batch = tempfile::NamedTempFile::new().unwrap();
        let many = (0..1000).map(|n| format!("route add 198.51.{}.{}/32 via 10.1.0.2\n", 100 + n / 250, n % 250));
        let mut text: String = many.collect();
        text += "route replace 192.0.2.0/24 via 10.2.0.2\n";
        text += "neigh replace 10.2.0.2 lladdr 02:00:00:00:09:09 dev a1 nud permanent\n";
        std::fs::write(batch.path(), text).unwrap();
        // The thread is held up meanwhile.
        let held = followed.routes.shared.orders.lock().unwrap();
        ip(&format!("-batch {}", batch.path().display()));
        drop(held);
        wait("events to be lost", || followed.routes.figures().lost_events > 0);
        followed.leads(hop, NextHop { destination: MOVED, ..over(1) });
        ip("neigh del 10.2.0.2 dev a1");
        followed.leads(hop, NextHop { destination: FAR[1], ..over(1) });
    });
}
