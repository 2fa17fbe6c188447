//! The kernel's own figure: packets forwarded with both addresses translated by nftables, a map entry for each call.

use std::fmt::Write as _;
use std::io::Write as _;
use std::net::{IpAddr, SocketAddr};
use std::process::{Command, Stdio};

use super::lab::{CARRIER, CORE, Lab, Place, SBC_CARRIER, SBC_CORE};
use super::system::{Counters, Pair, Setup, System};
use crate::commands::process::{Error, Running};

pub(super) struct Forward {
    pairs: Vec<Pair>,
}

const FIRST_PORT: u16 = 20_000;

impl Forward {
    pub(super) fn start(setup: &Setup) -> Result<Forward, Error> {
        setup.lab.within(Place::Sbc, || std::fs::write("/proc/sys/net/ipv4/ip_forward", "1"))??;
        load(&setup.lab, &table())?;
        Ok(Forward { pairs: Vec::new() })
    }
}

impl System for Forward {
    fn open(&mut self, setup: &Setup, count: usize) -> Result<Vec<Pair>, Error> {
        let known = self.pairs.len();
        for number in known..count {
            let port = u16::try_from(number).ok().and_then(|number| FIRST_PORT.checked_add(number));
            let port = port.ok_or("more calls than ports")?;
            let at = |ip| SocketAddr::new(IpAddr::V4(ip), port);
            self.pairs.push((at(SBC_CORE), at(SBC_CARRIER)));
        }
        if count > known {
            load(&setup.lab, &elements(&self.pairs[known..]))?;
        }
        Ok(self.pairs.iter().take(count).copied().collect())
    }

    fn process(&self) -> Option<&Running> {
        None
    }

    fn counters(&self, _: &Setup) -> Result<Option<Counters>, Error> {
        Ok(None)
    }

    fn stop(self: Box<Self>, setup: &Setup) -> Result<(), Error> {
        load(&setup.lab, "delete table ip relay\n")?;
        Ok(setup.lab.within(Place::Sbc, || std::fs::write("/proc/sys/net/ipv4/ip_forward", "0"))??)
    }
}

/// A call is known by the port of the relay, which is the same on both sides. Whoever sends first makes its entry in
/// the connection table, and the packets of the other side are those of the way back.
fn table() -> String {
    let (core, carrier) = (CORE.ip(), CARRIER.ip());
    let mut text = String::from("table ip relay {\n");
    for map in ["to_core", "to_carrier", "from_core", "from_carrier"] {
        // To a String.
        let _ = writeln!(text, "map {map} {{ type inet_service : ipv4_addr . inet_service; size 65536; }}");
    }
    text + &format!(
        "chain arriving {{ type nat hook prerouting priority dstnat;\n\
         ip daddr {SBC_CORE} dnat ip to udp dport map @to_carrier\n\
         ip daddr {SBC_CARRIER} dnat ip to udp dport map @to_core\n}}\n\
         chain leaving {{ type nat hook postrouting priority srcnat;\n\
         ip daddr {carrier} meta l4proto udp snat ip to ct original proto-dst map @from_carrier\n\
         ip daddr {core} meta l4proto udp snat ip to ct original proto-dst map @from_core\n}}\n}}\n"
    )
}

fn elements(pairs: &[Pair]) -> String {
    let mut text = String::new();
    let mut add = |map: &str, to: &dyn Fn(&Pair) -> SocketAddr| {
        let entry = |pair: &Pair| format!("{} : {} . {}", pair.0.port(), to(pair).ip(), to(pair).port());
        let entries: Vec<String> = pairs.iter().map(entry).collect();
        // To a String.
        let _ = writeln!(text, "add element ip relay {map} {{ {} }}", entries.join(", "));
    };
    add("to_carrier", &|_| CARRIER);
    add("to_core", &|_| CORE);
    add("from_carrier", &|pair| pair.1);
    add("from_core", &|pair| pair.0);
    text
}

fn load(lab: &Lab, rules: &str) -> Result<(), Error> {
    let mut command = Command::new("nft");
    command.args(["-f", "-"]).stdin(Stdio::piped()).stderr(Stdio::piped());
    let mut child = lab.within(Place::Sbc, || command.spawn())??;
    child.stdin.take().ok_or("no input of nft")?.write_all(rules.as_bytes())?;
    let output = child.wait_with_output()?;
    if output.status.success() {
        return Ok(());
    }
    let said = String::from_utf8_lossy(&output.stderr);
    Err(format!("nft: {}", said.lines().next().unwrap_or_default()).into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_call_has_an_entry_in_every_map() {
        let pair = |port| (SocketAddr::new(SBC_CORE.into(), port), SocketAddr::new(SBC_CARRIER.into(), port));
        let text = elements(&[pair(7), pair(8)]);
        assert_eq!(text.lines().count(), 4);
        assert!(text.contains("add element ip relay to_carrier { 7 : 198.18.2.20 . 40000, 8 : 198.18.2.20 . 40000 }"));
        assert!(text.contains("add element ip relay from_core { 7 : 192.0.2.1 . 7, 8 : 192.0.2.1 . 8 }"));
    }
}
