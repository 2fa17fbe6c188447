//! What a REGISTER does to the bindings of its user (RFC 3261 section 10.3).

use moorline_sip::transaction::Flow;
use moorline_sip::{Contact, Message, Name, NameAddr, Scheme, Uri};

use super::Binding;
use super::binding::is_behind_nat;
use crate::policy::WhenFull;

/// The most contacts of one REGISTER, and of one user.
pub(crate) const MAX_CONTACTS: usize = 16;

/// The most proxies on a path.
const MAX_PATH: usize = 8;

const SECOND_NS: u64 = 1_000_000_000;

/// What the policy says about a user's bindings.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Rules {
    pub(crate) min_s: u32,
    pub(crate) default_s: u32,
    pub(crate) max_s: u32,
    pub(crate) max_contacts: usize,
    pub(crate) when_full: WhenFull,
}

/// Why a REGISTER changes nothing. The user's bindings stay as they were.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Refusal {
    /// A contact that cannot be read or called, too many, or `*` where it may not stand: 400.
    Contact,
    /// It came after one with a higher CSeq: 500.
    OutOfOrder,
    /// It is to last for less than this: 423.
    Brief(u32),
    /// The user has as many contacts as it may: 403.
    Full,
}

/// Applies a REGISTER that came over `flow` to the bindings of its user: all of it, or nothing. `serial` makes names
/// for new bindings.
pub(crate) fn register(
    now: u64,
    flow: Flow,
    request: Message<'_>,
    rules: Rules,
    serial: &mut u64,
    bindings: &mut Vec<Binding>,
) -> Result<(), Refusal> {
    let contacts: Vec<Contact<'_>> = request.contacts().collect::<Result<_, _>>().map_err(|_| Refusal::Contact)?;
    if contacts.len() > MAX_CONTACTS {
        return Err(Refusal::Contact);
    }
    let mut next: Vec<Binding> = bindings.iter().filter(|binding| binding.expires_at > now).cloned().collect();
    if contacts.contains(&Contact::Any) {
        if contacts.len() > 1 || request.expires() != Some(0) {
            return Err(Refusal::Contact);
        }
        for binding in &next {
            in_order(binding, request)?;
        }
        bindings.clear();
        return Ok(());
    }
    let mut touched = Vec::new();
    for contact in contacts {
        let Contact::Address(contact) = contact else { continue };
        let wanted_s = contact.expires().or_else(|| request.expires()).unwrap_or(rules.default_s);
        let known = next.iter().position(|binding| binding.is_of(&contact));
        if let Some(known) = known {
            in_order(&next[known], request)?;
        }
        if wanted_s == 0 {
            known.map(|known| next.remove(known));
            continue;
        }
        if wanted_s < rules.min_s {
            return Err(Refusal::Brief(rules.min_s));
        }
        let mut binding = bound(now, flow, request, &contact)?;
        binding.expires_at = now.saturating_add(u64::from(wanted_s.min(rules.max_s)) * SECOND_NS);
        match known {
            Some(known) => {
                binding.serial = next[known].serial;
                next[known] = binding;
                touched.push(next[known].serial);
            }
            None => {
                *serial += 1;
                binding.serial = *serial;
                touched.push(*serial);
                next.push(binding);
            }
        }
    }
    let most = rules.max_contacts.min(MAX_CONTACTS);
    while next.len() > most {
        // Nobody loses a contact to a REGISTER that itself asks for too many.
        let oldest = (0..next.len()).filter(|at| !touched.contains(&next[*at].serial));
        match oldest.min_by_key(|at| next[*at].refreshed_at) {
            Some(oldest) if rules.when_full == WhenFull::Replace => drop(next.remove(oldest)),
            _ => return Err(Refusal::Full),
        }
    }
    *bindings = next;
    Ok(())
}

/// A REGISTER of the same Call-ID counts only if its CSeq is higher.
fn in_order(binding: &Binding, request: Message<'_>) -> Result<(), Refusal> {
    let same = request.call_id().is_ok_and(|call_id| call_id == binding.call_id);
    let later = request.cseq().is_ok_and(|cseq| cseq.number > binding.cseq);
    if same && !later { Err(Refusal::OutOfOrder) } else { Ok(()) }
}

/// The binding of a contact, but for its name and its end.
fn bound(now: u64, flow: Flow, request: Message<'_>, contact: &NameAddr<'_>) -> Result<Binding, Refusal> {
    let uri = Uri::parse(contact.uri).map_err(|_| Refusal::Contact)?;
    if !matches!(uri.scheme, Scheme::Sip | Scheme::Sips) || uri.host.is_empty() {
        return Err(Refusal::Contact);
    }
    let param = |name: &[u8]| contact.param(name).flatten().map(<[u8]>::to_vec);
    let path: Vec<Vec<u8>> = request.values(Name::Path).map(<[u8]>::to_vec).collect();
    if path.len() > MAX_PATH {
        return Err(Refusal::Contact);
    }
    Ok(Binding {
        serial: 0,
        contact: contact.uri.to_vec(),
        q: contact.q(),
        instance: param(b"+sip.instance"),
        reg_id: param(b"reg-id"),
        flow,
        nat: path.is_empty() && is_behind_nat(flow, request, &uri),
        path,
        call_id: request.call_id().map_err(|_| Refusal::Contact)?.to_vec(),
        cseq: request.cseq().map_err(|_| Refusal::Contact)?.number,
        refreshed_at: now,
        expires_at: now,
    })
}
