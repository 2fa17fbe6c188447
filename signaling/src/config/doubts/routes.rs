//! Routes that no call takes.

use std::collections::BTreeMap;

use moorline_b2bua::Local;
use moorline_b2bua::policy::Times;

use crate::config::fault::Faults;
use crate::config::{Config, RouteConfig};

impl Config {
    /// Routes that others take all calls of, or that are for numbers and trunks from which no call is taken.
    pub(super) fn doubt_routes(&self, idle: &mut Faults) {
        self.doubt_shadowed(idle);
        for (index, route) in self.routes.iter().enumerate() {
            let from = self.trunks.iter().filter(|trunk| route.from.as_ref() == Some(&trunk.name));
            for trunk in from {
                let inbound = &trunk.limits.inbound;
                if inbound.calls == Some(0) {
                    let problem =
                        format!("no call takes this route: trunk {:?} has `limits.inbound.calls = 0`", trunk.name);
                    idle.add(format!("routes[{index}].from"), problem, "raise the limit, or remove the route");
                }
                let covers = inbound.barred.iter().find(|barred| barred.covers(route.prefix.as_bytes()));
                let spared = !inbound.barred_except.is_empty() || !self.whitelist.is_empty();
                if let Some(barred) = covers.filter(|_| !spared && route.refuse.is_none()) {
                    let problem = format!(
                        "no call takes this route: trunk {:?} bars the numbers that begin so ({barred})",
                        trunk.name
                    );
                    let remedy = "add the numbers to `limits.inbound.barred_except` of the trunk, or remove the route";
                    idle.add(format!("routes[{index}].prefix"), problem, remedy);
                }
            }
            let to = self.led_to(route);
            if !to.is_empty() && to.iter().all(|at| self.trunks[*at].limits.outbound.calls == Some(0)) {
                let problem = "every call is refused: the trunks that it leads to have `limits.outbound.calls = 0`";
                idle.add(format!("routes[{index}].to"), problem, "raise the limit, or lead it elsewhere");
            }
        }
    }

    /// Of routes with the same prefixes one that says where from comes before one that does not, and then one that says
    /// when; what is left decides the order of the file.
    fn doubt_shadowed(&self, idle: &mut Faults) {
        let mut alike: BTreeMap<(&str, &str), Vec<usize>> = BTreeMap::new();
        for (index, route) in self.routes.iter().enumerate() {
            alike.entry((&route.prefix, &route.caller_prefix)).or_default().push(index);
        }
        for mut order in alike.into_values().filter(|alike| alike.len() > 1) {
            order.sort_by_key(|at| (self.routes[*at].from.is_none(), self.routes[*at].when.is_none(), *at));
            for (rank, at) in order.iter().enumerate().skip(1) {
                let route = &self.routes[*at];
                let before: Vec<usize> = order[..rank].to_vec();
                let takes_all = |trunk: &str| {
                    let here = |at: &&usize| self.routes[**at].from.as_deref().is_none_or(|from| from == trunk);
                    let here: Vec<&RouteConfig> = before.iter().filter(here).map(|at| &self.routes[*at]).collect();
                    all_taken(route, &here)
                };
                let shadowed = match &route.from {
                    Some(from) => takes_all(from),
                    None => self.trunks.iter().all(|trunk| takes_all(&trunk.name)),
                };
                if shadowed {
                    let others: Vec<String> = before.iter().map(|at| format!("routes[{at}]")).collect();
                    let problem = format!("no call takes this route: {} come before it at any time", others.join(", "));
                    let remedy = "remove it, or say in the others `from` whom or `when` they are for";
                    idle.add(format!("routes[{at}].prefix"), problem, remedy);
                }
            }
        }
    }
}

/// Whether others are for all calls of a route, minute by minute of the week.
fn all_taken(route: &RouteConfig, others: &[&RouteConfig]) -> bool {
    let times = |route: &RouteConfig| route.when.as_ref().and_then(|when| when.parse::<Times>().ok());
    if others.iter().any(|other| other.when.is_none()) {
        return true;
    }
    let own = times(route);
    let others: Vec<Times> = others.iter().filter_map(|other| times(other)).collect();
    let mut minutes =
        (0..7).flat_map(|weekday| (0..24 * 60).map(move |minute| Local { day: i64::from(weekday), weekday, minute }));
    minutes.all(|now| {
        let for_route = own.as_ref().is_none_or(|own| own.contain(now));
        !for_route || others.iter().any(|other| other.contain(now))
    })
}
