//! What attaches the program to its interfaces.

use aya::Ebpf;
use aya::maps::MapData;
use aya::maps::xdp::DevMap;
use aya::programs::links::FdLink;
use aya::programs::xdp::{XdpLink, XdpMode};

use super::claim::{Claim, claim};
use super::error::{ForwardError, errno, of};
use super::interfaces::{self, Carrier, Table};
use super::pins::Pins;
use super::{other, take, xdp};

/// How the program is attached.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Mode {
    /// By the driver, or else in generic mode.
    #[default]
    Any,
    /// By the driver only.
    Native,
    /// In the kernel's generic mode, which copies packets.
    Generic,
}

/// An interface that the program is attached to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Attached {
    /// Its name.
    pub name: String,
    /// Its index.
    pub index: u32,
    /// Its place among all.
    pub slot: u32,
    /// Whether its driver runs the program.
    pub native: bool,
}

/// All links, with what they were made of.
pub(super) struct Links {
    links: Vec<Link>,
    devices: DevMap<MapData>,
    mode: Mode,
    pins: Option<Pins>,
    program: Ebpf,
}

struct Link {
    attached: Attached,
    /// Owns the link, unless its file does. `None` where the interface is gone.
    link: Option<FdLink>,
    claim: Option<Claim>,
}

impl Links {
    pub(super) fn attach(
        mut program: Ebpf,
        carriers: Vec<Carrier>,
        claims: Vec<Claim>,
        mode: Mode,
        pins: Option<Pins>,
        table: &Table,
    ) -> Result<Links, ForwardError> {
        let devices = DevMap::try_from(take(&mut program, "moor_devices")?).map_err(of("moor_devices"))?;
        let mut own = Links { links: Vec::new(), devices, mode, pins, program };
        if let Some(pins) = &own.pins {
            pins.keep_links(&carriers.iter().map(|carrier| (carrier.index, 0)).collect::<Vec<_>>());
        }
        for ((carrier, claim), slot) in carriers.into_iter().zip(claims).zip(0..) {
            let link = own.link(carrier, claim, slot, table)?;
            own.links.push(link);
        }
        Ok(own)
    }

    pub(super) fn attached(&self) -> Vec<Attached> {
        self.links.iter().filter(|link| link.link.is_some()).map(|link| link.attached.clone()).collect()
    }

    /// The place of an interface.
    pub(super) fn slot(&self, index: u32) -> Option<u32> {
        let own = self.links.iter().find(|link| link.link.is_some() && link.attached.index == index);
        own.map(|link| link.attached.slot)
    }

    /// The place of an interface that packets of all others can leave by: from one whose driver runs the program they
    /// cannot be handed to one that has it in generic mode, whose driver sends no frames.
    pub(super) fn way_out(&self, index: u32) -> Option<u32> {
        let mut others = self.links.iter().filter(|link| link.attached.index != index);
        let by_driver = self.links.iter().any(|link| link.attached.index == index && link.attached.native);
        self.slot(index).filter(|_| by_driver || !others.any(|link| link.attached.native))
    }

    /// Follows interfaces that have gone or have another index now.
    pub(super) fn renew(&mut self, table: &Table) -> Result<bool, ForwardError> {
        let mut changed = false;
        for place in 0..self.links.len() {
            let Attached { name, index, slot, .. } = self.links[place].attached.clone();
            let now = interfaces::index(&name).ok();
            if now == Some(index) && self.links[place].link.is_some() {
                continue;
            }
            if self.links[place].link.take().is_some() {
                changed = true;
                self.links[place].claim = None;
                table.remove(index);
                if let Some(pins) = &self.pins {
                    pins.forget_link(index);
                }
            }
            if let Some(index) = now {
                let carrier = Carrier { name, index, tags: 0 };
                let claim = claim(&carrier.name, index)?;
                self.links[place] = self.link(carrier, claim, slot, table)?;
                changed = true;
            }
        }
        Ok(changed)
    }

    #[cfg(test)]
    pub(super) fn program(&mut self) -> &mut aya::programs::Xdp {
        xdp(&mut self.program).unwrap()
    }

    #[cfg(test)]
    pub(super) fn set_native(&mut self, index: u32, native: bool) {
        self.links
            .iter_mut()
            .filter(|link| link.attached.index == index)
            .for_each(|link| link.attached.native = native);
    }

    /// Detaches the program and removes what is pinned.
    pub(super) fn remove(self) {
        if let Some(pins) = self.pins {
            pins.remove();
        }
    }

    fn link(&mut self, carrier: Carrier, claim: Claim, slot: u32, table: &Table) -> Result<Link, ForwardError> {
        let Carrier { name, index, .. } = carrier;
        let (link, native) = match self.replace(index)? {
            Some(link) => (link, !other::is_generic(index)),
            None => self.attach_new(&name, index)?,
        };
        self.devices.set(slot, index, None, 0).map_err(of("adding an interface"))?;
        table.set(index, slot, !native)?;
        Ok(Link { attached: Attached { name, index, slot, native }, link: Some(link), claim: Some(claim) })
    }

    /// Puts the program in place of that of a link that a former process left.
    fn replace(&mut self, index: u32) -> Result<Option<FdLink>, ForwardError> {
        let Some(pins) = &self.pins else { return Ok(None) };
        let Some(left) = pins.take_link(index) else { return Ok(None) };
        let replaced = XdpLink::try_from(left).ok().and_then(|link| {
            let program = xdp(&mut self.program).ok()?;
            let link = program.attach_to_link(link).ok()?;
            program.take_link(link).ok()
        });
        match replaced.and_then(|link| FdLink::try_from(link).ok()) {
            Some(link) => Ok(Some(link)),
            None => {
                // It was to an interface that is gone.
                pins.forget_link(index);
                Ok(None)
            }
        }
    }

    fn attach_new(&mut self, name: &str, index: u32) -> Result<(FdLink, bool), ForwardError> {
        let program = xdp(&mut self.program)?;
        let modes: &[XdpMode] = match self.mode {
            Mode::Any => &[XdpMode::Driver, XdpMode::Skb],
            Mode::Native => &[XdpMode::Driver],
            Mode::Generic => &[XdpMode::Skb],
        };
        let mut reasons = Vec::new();
        for mode in modes {
            match program.attach_to_if_index(index, *mode) {
                Ok(id) => {
                    let link = program.take_link(id).map_err(of("attaching the forwarding program"))?;
                    let link = FdLink::try_from(link).map_err(of("attaching the forwarding program (kernel 5.9)"))?;
                    let link = match &self.pins {
                        Some(pins) => pins.keep_link(index, link)?,
                        None => link,
                    };
                    return Ok((link, matches!(mode, XdpMode::Driver)));
                }
                Err(error) => match errno(&error) {
                    Some(libc::EBUSY | libc::EEXIST) => {
                        let program = other::program(index);
                        return Err(ForwardError::OtherProgram { interface: name.to_string(), program });
                    }
                    Some(libc::EPERM) => return Err(ForwardError::Capabilities("CAP_NET_ADMIN".to_string())),
                    Some(libc::ENODEV) => return Err(ForwardError::NoInterface(name.to_string())),
                    _ => reasons.push(crate::innermost(&error)),
                },
            }
        }
        let (interface, driver) = (name.to_string(), interfaces::driver(name));
        Err(ForwardError::Driver { interface, driver, reason: reasons.join("; in generic mode: ") })
    }
}
