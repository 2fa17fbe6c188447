//! As many destinations as 20,000 sessions can have.

use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Instant;

use super::NEAR4;
use super::stage::{Board, Followed, Stage, ip, over, run, wait};
use crate::routes::{Answer, Firewall};
use crate::shard::clock::monotonic_ns;

const MANY: u32 = 20_000;

fn destination(n: u32) -> IpAddr {
    Ipv4Addr::from_bits(0xac10_0000 + n).into()
}

#[test]
fn twenty_thousand_destinations_are_followed_and_let_go_of() {
    run(|_: &Stage| {
        ip("route add 172.16.0.0/12 via 10.1.0.2");
        let mut followed = Followed::with(None, MANY, Arc::new(Board::default()), Firewall::Ignored, None);
        let source: IpAddr = NEAR4.parse().unwrap();
        let mut held = vec![None; MANY as usize];
        let started = Instant::now();
        wait("all hops", || {
            for (n, held) in (0..).zip(&mut held).filter(|(_, held)| held.is_none()) {
                if let Answer::Hop(hop) = followed.hops.hop(monotonic_ns(), source, destination(n), 0) {
                    *held = Some(hop);
                }
            }
            held.iter().all(Option::is_some)
        });
        let valid =
            |followed: &Followed| held.iter().flatten().filter(|hop| followed.board.at(**hop).is_some()).count();
        wait("all to be valid", || valid(&followed) == MANY as usize);
        eprintln!("{MANY} hops found in {:?}", started.elapsed());
        let questions = followed.routes.figures().questions;
        assert!(questions < u64::from(MANY) * 3 / 2, "{questions} questions, one for each and some to check");
        assert!(followed.routes.figures().kept_alive < 10, "one neighbour");

        let (started, next) = (Instant::now(), over(1));
        ip("route replace 172.16.0.0/12 via 10.2.0.2");
        wait("all to have changed", || {
            held.iter().flatten().filter(|hop| followed.board.at(**hop) == Some(next)).count() == MANY as usize
        });
        eprintln!("{MANY} hops changed in {:?}", started.elapsed());
        assert_eq!(followed.board.writes.load(Ordering::Relaxed), 2 * u64::from(MANY));

        // Another one finds no place, until those that nobody uses have been let go of.
        let other = destination(MANY);
        let full = followed.hops.hop(monotonic_ns(), source, other, 0);
        assert_eq!(full, Answer::Kernel(crate::routes::Reason::Full));
        let now = monotonic_ns();
        held.iter().flatten().for_each(|hop| followed.hops.release(now, *hop));
        let later = now + 61_000_000_000;
        for _ in 0..MANY / 100 {
            followed.hops.sweep(later);
        }
        wait("all to be let go of", || followed.routes.figures().followed == 0 && valid(&followed) == 0);
        wait("a place", || matches!(followed.hops.hop(later, source, other, 0), Answer::Hop(_)));
    });
}
