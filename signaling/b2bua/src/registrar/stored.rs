//! Bindings as they are written down, for the next process.

use std::net::SocketAddr;

use minicbor::bytes::ByteVec;
use minicbor::{Decode, Encode};
use moorline_sip::transaction::Flow;
use moorline_sip::{Transport, Uri};

use super::{Aor, Binding};
use crate::policy::{Policy, Trunk};

/// The form that this version writes; another one is not read.
const VERSION: u8 = 1;

#[derive(Encode, Decode)]
#[cbor(map)]
struct Form {
    #[n(0)]
    version: u8,
    #[n(1)]
    bindings: Vec<BindingForm>,
}

#[derive(Encode, Decode)]
#[cbor(map)]
struct BindingForm {
    #[n(0)]
    contact: ByteVec,
    #[n(1)]
    q: Option<u16>,
    #[n(2)]
    instance: Option<ByteVec>,
    #[n(3)]
    reg_id: Option<ByteVec>,
    #[n(4)]
    listener: String,
    /// The transport's position in [`Transport::ALL`].
    #[n(5)]
    transport: u8,
    #[n(6)]
    remote: SocketAddr,
    #[n(7)]
    nat: bool,
    #[n(8)]
    path: Vec<ByteVec>,
    #[n(9)]
    call_id: ByteVec,
    #[n(10)]
    cseq: u32,
    #[n(11)]
    refreshed_at: u64,
    #[n(12)]
    expires_at: u64,
}

/// Under which key a user's bindings are written down: names of trunks outlast their positions.
pub(crate) fn key(aor: &Aor, policy: &Policy) -> Option<Vec<u8>> {
    let trunk = policy.trunks.get(aor.trunk)?;
    let mut key = trunk.name.clone().into_bytes();
    key.push(0);
    key.extend_from_slice(&aor.user);
    Some(key)
}

/// Whose bindings are under this key; `None` if the trunk is no registrar any more.
pub(crate) fn key_of(key: &[u8], policy: &Policy) -> Option<Aor> {
    let mut parts = key.splitn(2, |byte| *byte == 0);
    let (name, user) = (parts.next()?, parts.next()?);
    let (trunk, _) = policy.registrars().find(|(_, trunk)| trunk.name.as_bytes() == name)?;
    Some(Aor { trunk, user: user.into() })
}

/// A user's bindings, to be written down.
pub(crate) fn encode(bindings: &[Binding], policy: &Policy) -> Vec<u8> {
    let form = |binding: &Binding| {
        Some(BindingForm {
            contact: binding.contact.clone().into(),
            q: binding.q,
            instance: binding.instance.clone().map(Into::into),
            reg_id: binding.reg_id.clone().map(Into::into),
            listener: policy.listeners.get(binding.flow.listener)?.name.clone(),
            transport: binding.flow.transport as u8,
            remote: binding.flow.remote,
            nat: binding.nat,
            path: binding.path.iter().cloned().map(Into::into).collect(),
            call_id: binding.call_id.clone().into(),
            cseq: binding.cseq,
            refreshed_at: binding.refreshed_at,
            expires_at: binding.expires_at,
        })
    };
    let form = Form { version: VERSION, bindings: bindings.iter().filter_map(form).collect() };
    // Writing into a vector does not fail.
    minicbor::to_vec(form).unwrap_or_default()
}

/// The bindings that were written down, as far as they still hold at `now`: a stream has not outlived its process,
/// and who was behind NAT on one cannot be reached.
///
/// The clock of a host that was started anew begins anew: no binding lasts longer from now on than it was granted.
pub(crate) fn decode(bytes: &[u8], aor: &Aor, now: u64, policy: &Policy, serial: &mut u64) -> Vec<Binding> {
    let Ok(form) = minicbor::decode::<Form>(bytes) else { return Vec::new() };
    if form.version != VERSION {
        return Vec::new();
    }
    let Some(trunk) = policy.trunks.get(aor.trunk) else { return Vec::new() };
    form.bindings.into_iter().filter_map(|form| binding(form, trunk, now, policy, serial)).collect()
}

fn binding(form: BindingForm, trunk: &Trunk, now: u64, policy: &Policy, serial: &mut u64) -> Option<Binding> {
    let listener = policy.listeners.iter().position(|listener| listener.name == form.listener)?;
    let transport = *Transport::ALL.get(usize::from(form.transport))?;
    let granted = form.expires_at.saturating_sub(form.refreshed_at);
    let expires_at = form.expires_at.min(now.saturating_add(granted));
    if expires_at <= now || (transport.is_reliable() && form.nat) {
        return None;
    }
    let mut remote = form.remote;
    if transport.is_reliable() {
        remote = Uri::parse(&form.contact).ok()?.socket_addr(transport.default_port())?;
    }
    *serial += 1;
    Some(Binding {
        serial: *serial,
        contact: form.contact.into(),
        q: form.q,
        instance: form.instance.map(Into::into),
        reg_id: form.reg_id.map(Into::into),
        flow: Flow { listener, ..trunk.flow(transport, remote) },
        nat: form.nat,
        path: form.path.into_iter().map(Into::into).collect(),
        call_id: form.call_id.into(),
        cseq: form.cseq,
        refreshed_at: form.refreshed_at.min(now),
        expires_at,
    })
}
