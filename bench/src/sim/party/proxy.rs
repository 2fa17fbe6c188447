//! Proxies between a party and Moorline that stay on the way by Record-Route (RFC 3261 16.6, 16.12).
//!
//! Party and proxies are one here: the party's address is that of the proxy next to Moorline, and its own is reached
//! through them only.

use moorline_sip::{Message, Name};

use super::Party;
use super::message::text;
use crate::sim::NETWORKS;

impl Party {
    /// The URIs of the proxies, from Moorline's side.
    fn proxies(&self) -> Vec<String> {
        let network = NETWORKS[self.listener];
        let all = [
            format!("<sip:{}{};lr>", self.address, self.transport_param()),
            format!("<sip:{network}230:5070;lr;x=kept>"),
        ];
        all.into_iter().take(self.script.proxies).collect()
    }

    /// What the party's Contact names.
    pub(super) fn own_address(&self) -> String {
        match self.script.proxies {
            0 => self.address.to_string(),
            _ => format!("{}240:5062", NETWORKS[self.listener]),
        }
    }

    /// The headers that proxies have put into an INVITE of the party's: the last on the way on top.
    pub(super) fn recorded(&self) -> String {
        self.proxies().iter().map(|proxy| format!("Record-Route: {proxy}\r\n")).collect()
    }

    /// The Record-Routes of an answer to an INVITE: the first on the way, next to Moorline, at the end.
    pub(super) fn recorded_for_moorline(&self) -> Vec<String> {
        let mut proxies = self.proxies();
        proxies.reverse();
        proxies
    }

    /// The Vias below the topmost of a request of the party's.
    pub(super) fn inner_vias(&self, branch: &str) -> String {
        let transport = self.transport();
        let hosts = (0..self.script.proxies).map(|hop| format!("{}{}:5071", NETWORKS[self.listener], 231 + hop));
        hosts.map(|host| format!("Via: SIP/2.0/{transport} {host};branch={branch}-inner\r\n")).collect()
    }

    /// A request in a dialog names the proxies that it has to pass, in their order.
    pub(super) fn check_way(&mut self, message: Message<'_>, in_dialog: bool) {
        let expected = if in_dialog { self.proxies() } else { Vec::new() };
        let routes = routes(message);
        if routes != expected {
            self.fault(format!("a request by way of {routes:?}, not of {expected:?}"));
        }
    }
}

/// The Route values of a request.
pub(super) fn routes(message: Message<'_>) -> Vec<String> {
    message.values(Name::Route).map(text).collect()
}
