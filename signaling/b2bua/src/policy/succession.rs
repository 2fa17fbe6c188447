//! One policy after another. Whoever began with a trunk keeps it, by its position: a trunk that a new configuration says
//! otherwise, or does not have, retires and stays where it is, and the new one of its name gets another position.

use std::collections::HashMap;

use super::{Policy, Trunk};

impl Policy {
    /// The trunks that are configured now, by position, in the order of the configuration.
    pub fn current_trunks(&self) -> impl Iterator<Item = (usize, &Trunk)> {
        let positions = 0..self.order.as_ref().map_or(self.trunks.len(), Vec::len);
        let position = |at: usize| self.order.as_ref().map_or(Some(at), |order| order.get(at).copied());
        positions.filter_map(move |at| {
            let position = position(at)?;
            Some((position, self.trunks.get(position)?))
        })
    }

    /// Whether there are trunks of configurations before.
    pub(crate) fn has_retired(&self) -> bool {
        self.order.as_ref().is_some_and(|order| order.len() < self.trunks.len())
    }

    /// The trunk of this name: the one that is configured now, else the one that was.
    pub(crate) fn named(&self, name: &str) -> Option<usize> {
        let current = self.current_trunks().find(|(_, trunk)| trunk.name == name);
        let known = || self.trunks.iter().position(|trunk| trunk.name == name);
        current.map(|(position, _)| position).or_else(known)
    }

    /// The trunk that has taken another one's place, or that one itself.
    pub(crate) fn successor(&self, trunk: usize) -> usize {
        match self.trunks.get(trunk) {
            Some(known) if known.retired => {
                let heir = self.current_trunks().find(|(_, other)| other.name == known.name);
                heir.map_or(trunk, |(heir, _)| heir)
            }
            _ => trunk,
        }
    }

    /// The policy of a configuration that is read while calls are up. Trunks that are as they were keep their positions;
    /// of those that are not, the old ones retire. `unused` are positions of retired trunks that nobody needs any more:
    /// they are given to others.
    pub fn followed_by(&self, mut next: Policy, unused: &[usize]) -> Policy {
        let mut trunks = self.trunks.clone();
        trunks.iter_mut().for_each(|trunk| trunk.retired = true);
        let was_retired = |position: &usize| self.trunks.get(*position).is_some_and(|trunk| trunk.retired);
        let mut free: Vec<usize> = unused.iter().copied().filter(was_retired).collect();
        for position in &free {
            trunks[*position] = Trunk { retired: true, ..Trunk::default() };
        }
        let current: HashMap<&str, usize> =
            self.current_trunks().map(|(at, trunk)| (trunk.name.as_str(), at)).collect();
        let mut order = Vec::with_capacity(next.trunks.len());
        for mut trunk in std::mem::take(&mut next.trunks) {
            let before = current.get(trunk.name.as_str()).map(|at| (*at, &self.trunks[*at]));
            let position = match before {
                Some((position, same)) if *same == trunk => {
                    trunks[position].retired = false;
                    position
                }
                _ => {
                    if let Some((_, before)) = before {
                        trunk.take_over(before);
                    }
                    let position = free.pop().unwrap_or(trunks.len());
                    match trunks.get_mut(position) {
                        Some(place) => *place = trunk,
                        None => trunks.push(trunk),
                    }
                    position
                }
            };
            order.push(position);
        }
        next.routes.renumber(&order);
        (next.trunks, next.order) = (trunks, Some(order));
        next
    }

    /// The same without what is known of retired trunks that nobody needs any more.
    pub fn without(&self, unused: &[usize]) -> Policy {
        let mut policy = self.clone();
        for position in unused {
            if let Some(trunk) = policy.trunks.get_mut(*position).filter(|trunk| trunk.retired) {
                *trunk = Trunk { retired: true, ..Trunk::default() };
            }
        }
        policy
    }
}

impl Trunk {
    /// What was learnt of the one before, as far as it is true of this one.
    fn take_over(&mut self, before: &Trunk) {
        if self.targets == before.targets {
            self.resolved = before.resolved.clone();
        }
        if let (Some(own), Some(before)) = (&mut self.authentication, &before.authentication)
            && (&own.realm, &own.algorithms) == (&before.realm, &before.algorithms)
        {
            // Telephones go on with the challenges that they have.
            own.challenges = before.challenges.clone();
        }
    }
}

#[cfg(test)]
mod tests {
    use moorline_sip::Transport;
    use moorline_sip::transaction::{Flow, Identity};

    use super::*;
    use crate::Local;
    use crate::policy::{Route, Routes, Way};

    fn trunk(name: &str, source: &str) -> Trunk {
        Trunk { name: name.into(), sources: vec![source.parse().unwrap()], ..Trunk::default() }
    }

    fn flow(source: &str) -> Flow {
        Flow::new(0, Transport::Udp, source.parse().unwrap())
    }

    fn policy(trunks: Vec<Trunk>, to: usize) -> Policy {
        let routes = Routes::new([Route { from: Some(0), to: Way::Trunk(to), ..Route::default() }]);
        Policy { trunks, routes, ..Policy::default() }
    }

    fn order(policy: &Policy) -> Vec<(usize, &str)> {
        policy.current_trunks().map(|(at, trunk)| (at, trunk.name.as_str())).collect()
    }

    fn led_to(policy: &Policy, from: usize) -> Option<Way> {
        policy
            .routes
            .find(from, b"1", b"2", Local { day: 0, weekday: 0, minute: 0 })
            .map(|decision| decision.to.clone())
    }

    #[test]
    fn what_is_as_it_was_stays_where_it_is_and_what_is_not_retires() {
        let first = policy(vec![trunk("a", "192.0.2.1/32"), trunk("b", "192.0.2.2/32")], 1);
        let other = trunk("b", "192.0.2.3/32");
        let second =
            first.followed_by(policy(vec![trunk("c", "192.0.2.4/32"), other, trunk("a", "192.0.2.1/32")], 1), &[]);
        assert_eq!(order(&second), [(2, "c"), (3, "b"), (0, "a")]);
        assert!(second.trunks[1].retired && second.has_retired() && !first.has_retired());
        assert_eq!(led_to(&second, 2), Some(Way::Trunk(3)), "the route is from c to b");
        assert_eq!(led_to(&second, 0), None);
        let ingress = |source: &str| second.ingress(flow(source));
        assert_eq!(ingress("192.0.2.2:5060"), Some(1), "calls of the old one are still known");
        assert_eq!(ingress("192.0.2.3:5060"), Some(3));
        assert_eq!(ingress("192.0.2.9:5060"), None);
        assert_eq!((second.successor(1), second.successor(0)), (3, 0));
    }

    #[test]
    fn who_shows_a_name_is_welcome_while_his_trunk_goes_by_it_or_is_gone() {
        let named = |name: &str, identity: &str| Trunk {
            tls_identities: vec![identity.to_owned()],
            ..trunk(name, "192.0.2.0/24")
        };
        let there = Flow::new(0, Transport::Tls, "192.0.2.2:40001".parse().unwrap());
        let of = |name: Option<&str>| Flow { identity: name.map(Identity::of), ..there };
        let shows = |shown: &'static str| move |name: &str| name == shown;
        let welcome = |policy: &Policy| {
            let [a, b] = [("a", "a.example"), ("b", "b.example")]
                .map(|(trunk, shown)| policy.is_welcome(of(Some(trunk)), shows(shown)));
            (a, b, policy.is_welcome(there, shows("")))
        };
        let first = policy(vec![named("a", "a.example"), named("b", "b.example")], 0);
        assert_eq!(first.identified(there, shows("b.example")), Some(Identity::of("b")));
        assert_eq!(first.identified(there, shows("c.example")), None);
        assert_eq!(welcome(&first), (true, true, false));
        // Another network of a, and another name of b, whose calls are still its own.
        let other = Trunk { sources: vec!["192.0.2.128/25".parse().unwrap()], ..named("a", "a.example") };
        let second = first.followed_by(policy(vec![other, named("b", "c.example")], 0), &[]);
        assert_eq!(welcome(&second), (true, false, false));
        assert_eq!(second.identified(there, shows("b.example")), None);
        assert_eq!(second.identified(there, shows("c.example")), Some(Identity::of("b")));
        assert!(
            second.speaks_on(1, of(Some("b"))) && !second.speaks_on(1, of(Some("a"))) && !second.speaks_on(1, there)
        );
        // Who breaks the connection comes again, from where his calls began.
        assert_eq!(second.identified(there, shows("a.example")), Some(Identity::of("a")));
        // Of two with one name the narrower network counts.
        let nested = policy(
            vec![named("a", "x"), Trunk { sources: vec!["192.0.2.2/32".parse().unwrap()], ..named("b", "x") }],
            0,
        );
        assert_eq!(nested.identified(there, shows("x")), Some(Identity::of("b")));
        // Both are let in by their addresses alone, and stay whose they were.
        let [a, b] = ["a", "b"].map(|name| trunk(name, "192.0.2.0/24"));
        let open = first.followed_by(policy(vec![a.clone(), b.clone()], 0), &[]);
        assert_eq!(welcome(&open), (true, true, true));
        assert_eq!(open.ingress(of(Some("b"))), Some(3));
        assert!(open.speaks_on(1, there) && !open.speaks_on(1, of(Some("a"))), "no longer asked, but nobody else's");
        // And are asked again.
        let asks = open.followed_by(policy(vec![named("a", "a.example"), b], 0), &[]);
        assert!(!asks.is_welcome(there, shows("a.example")), "it is known now whose that is");
        assert!(asks.is_welcome(there, shows("c.example")), "b still asks for nothing");
        assert!(asks.speaks_on(2, there) && asks.speaks_on(2, of(Some("a"))), "a call of before");
        // A trunk that is removed keeps its calls as long as they last.
        let third = first.followed_by(policy(vec![named("b", "b.example")], 0), &[]);
        assert_eq!(welcome(&third), (true, true, false));
        assert_eq!(third.identified(there, shows("a.example")), Some(Identity::of("a")));
        assert_eq!(welcome(&third.without(&[0])), (false, true, false));
        // One that is called otherwise by now comes again as that.
        let renamed = first.followed_by(policy(vec![named("c", "A.example"), named("b", "b.example")], 0), &[]);
        assert!(!renamed.is_welcome(of(Some("a")), |name| name.eq_ignore_ascii_case("a.example")));
        assert!(renamed.speaks_on(0, of(Some("c"))) && !renamed.speaks_on(0, of(Some("b"))));
    }

    #[test]
    fn positions_that_nobody_needs_are_used_again() {
        let first = policy(vec![trunk("a", "192.0.2.1/32")], 0);
        let second = first.followed_by(policy(vec![trunk("a", "192.0.2.2/32")], 0), &[]);
        assert_eq!(order(&second), [(1, "a")]);
        let third = second.followed_by(policy(vec![trunk("a", "192.0.2.3/32")], 0), &[0, 1]);
        assert_eq!(order(&third), [(0, "a")], "the one that is in use is not given away");
        assert_eq!(third.trunks.len(), 2);
        let fourth = third.followed_by(policy(vec![trunk("a", "192.0.2.3/32")], 0), &[1]);
        assert_eq!((order(&fourth), fourth.trunks[1].name.as_str()), (vec![(0, "a")], ""), "nothing is kept of it");
    }

    #[test]
    fn what_was_looked_up_is_still_known() {
        let named =
            |name: &str| Trunk { targets: vec!["carrier.example".parse().unwrap()], ..trunk(name, "192.0.2.1/32") };
        let first = policy(vec![named("a")], 0);
        first.trunks[0].resolved.set(0, ["198.51.100.1:5060".parse().unwrap()]);
        let second = first.followed_by(policy(vec![Trunk { trusted: true, ..named("a") }], 0), &[]);
        assert_eq!(second.ingress(flow("198.51.100.1:5060")), Some(1));
    }
}
