//! What Moorline is configured with in a run.

use std::net::SocketAddr;

use moorline_b2bua::policy::{self, Credentials, Large, Listener, Password, Policy, Route, Target, Trunk};
use moorline_sip::Transport;

use crate::sim::NUMBERS;
use crate::sim::media::RANGES;
use crate::sim::party::{PASSWORD, USER};
use crate::sim::plan::{Plan, TARGETS};

/// A target at an address.
fn target(plan: &Plan, address: SocketAddr) -> Target {
    let mut target = Target::from(address);
    target.transport = plan.network.streams.then_some(Transport::Tcp);
    target
}

/// The address of a host on the side of a listener.
pub(super) fn address(listener: usize, host: usize) -> SocketAddr {
    let ip = if listener == 0 { [192, 0, 2, host as u8] } else { [198, 51, 100, host as u8] };
    SocketAddr::from((ip, 5060))
}

pub(super) fn policy(plan: &Plan) -> Policy {
    let names = [RANGES[0].0, RANGES[1].0];
    let listener = |side: usize| Listener {
        name: names[side].into(),
        bind: address(side, 1),
        transports: Transport::ALL.to_vec(),
        advertised: address(side, 1),
    };
    let trunk = |side: usize| Trunk {
        name: names[side].into(),
        listener: side,
        sources: vec![ipnet::IpNet::from(address(side, 0).ip())]
            .into_iter()
            .filter_map(|net| ipnet::IpNet::new(net.addr(), 24).ok())
            .collect(),
        targets: (0..TARGETS).map(|target| self::target(plan, address(side, 20 + target))).collect(),
        media_range: names[side].into(),
        dialogs: policy::Dialogs {
            reliable_provisional: plan.sides[side].reliable,
            session_timers: plan.sides[side].timers,
            refer: plan.sides[side].refer,
            ..policy::Dialogs::default()
        },
        redirects: plan.sides[side].redirects,
        trusted: plan.sides[side].trusted,
        failover_ns: plan.sides[side].failover,
        credentials: plan.sides[side].asks.map(|_| Credentials {
            user: USER.into(),
            password: Password::plain(PASSWORD),
            realm: None,
        }),
        large: Large::Udp,
        ..Trunk::default()
    };
    let route = |side: usize| Route { prefix: NUMBERS[side].into(), to: policy::Way::Trunk(side), ..Route::default() };
    Policy {
        listeners: vec![listener(0), listener(1)],
        trunks: vec![trunk(0), trunk(1)],
        routes: policy::Routes::new([route(0), route(1)]),
        limits: plan.limits.clone(),
        ..Policy::default()
    }
}
