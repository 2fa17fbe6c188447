//! What every message that Moorline sends must be, whoever gets it.

use std::collections::{BTreeSet, HashMap};
use std::net::SocketAddr;

use moorline_sip::{Index, Message, Name};

use super::media::{MediaProcess, RANGES};
use super::{NETWORKS, SECRETS};

/// The most copies of one message: 11 within 64*T1, one more for each copy of what it answers.
const MOST_COPIES: u32 = 60;

/// What Moorline has sent so far.
#[derive(Default)]
pub(super) struct Wire {
    /// Every message, and how often it was sent.
    sent: HashMap<(SocketAddr, Vec<u8>), u32>,
    /// The methods and CSeq numbers of requests by branch.
    branches: HashMap<String, Vec<(String, u32)>>,
    /// The highest CSeq by Call-ID, From tag and To tag.
    cseqs: HashMap<(String, String, String), u32>,
    /// Dialogs whose INVITE Moorline sent, by Call-ID and From tag, and those that it acknowledged, with the To tag.
    invited: BTreeSet<(String, String)>,
    acknowledged: BTreeSet<(String, String, String)>,
    /// Dialogs that Moorline has shown to callers, by Call-ID and its tag there.
    shown: BTreeSet<(String, String)>,
    /// Signaling was restarted: a call may have come back whose answer the caller had not heard.
    restarted: bool,
    /// The last status by branch and method of the request that is answered, and its receiver.
    statuses: HashMap<(SocketAddr, String, String), u16>,
    /// Identifiers that Moorline made, by listener.
    own: [BTreeSet<String>; 2],
}

impl Wire {
    /// Everything that is wrong with a message to `to` from `listener`.
    pub(super) fn check(
        &mut self,
        now: u64,
        (listener, to): (usize, SocketAddr),
        bytes: &[u8],
        media: &MediaProcess,
    ) -> Vec<String> {
        let copies = self.sent.entry((to, bytes.to_vec())).or_default();
        *copies += 1;
        if *copies > 1 {
            return if *copies == MOST_COPIES { vec!["sent again and again".into()] } else { Vec::new() };
        }
        let mut faults = Vec::new();
        let mut index = Index::new();
        let message = match index.parse(bytes) {
            Ok(message) => message,
            Err(error) => return vec![format!("not readable: {error}")],
        };
        if let Err(fault) = message.check() {
            return vec![format!("breaks the rules: {}", fault.reason())];
        }
        if message.header(Name::ContentLength) != Some(message.body().len().to_string().as_bytes()) {
            faults.push("Content-Length is not that of the body".into());
        }
        if message.is_request() {
            self.request(message, &mut faults);
        } else {
            self.answer(to, message, &mut faults);
        }
        self.learn(listener, message);
        self.topology(listener, bytes, &mut faults);
        // A media process that has come back, and is busy, is given its sessions a little later.
        description(listener, message, media.is_at_hand(now).then_some(media), &mut faults);
        faults
    }

    /// Signaling was restarted: what it does not remember it may answer otherwise.
    pub(super) fn forget(&mut self) {
        self.statuses.clear();
        self.restarted = true;
    }

    fn request(&mut self, message: Message<'_>, faults: &mut Vec<String>) {
        let Identity { branch, method, cseq, call_id, from_tag, to_tag } = Identity::of(message);
        let used = self.branches.entry(branch.clone()).or_default();
        // An ACK to a refusal and a CANCEL are the only ones to share a branch, with their INVITE.
        let invite = used.iter().any(|(other, number)| other == "INVITE" && *number == cseq);
        let shares =
            matches!(&method[..], "ACK" | "CANCEL") && invite && used.iter().all(|(other, _)| *other != method);
        if !used.is_empty() && !shares {
            faults.push(format!("branch {branch} of another request is used again"));
        }
        if method == "CANCEL" && !invite {
            faults.push("a CANCEL that is not of an INVITE's branch".into());
        }
        used.push((method.clone(), cseq));
        let (side, dialog) = ((call_id.clone(), from_tag.clone()), (call_id.clone(), from_tag.clone(), to_tag.clone()));
        match &method[..] {
            "INVITE" if to_tag.is_empty() => drop(self.invited.insert(side)),
            "INVITE" | "UPDATE" | "INFO" | "OPTIONS" | "MESSAGE" | "REFER" | "NOTIFY" | "BYE"
                if !self.restarted && !self.invited.contains(&side) && !self.shown.contains(&side) =>
            {
                faults.push(format!("{method} in a dialog that the caller was not told of"));
            }
            "ACK" => drop(self.acknowledged.insert(dialog)),
            // After a restart Moorline cannot know that: whoever still repeats its 2xx is sent the ACK.
            "BYE" if !self.restarted && self.invited.contains(&side) && !self.acknowledged.contains(&dialog) => {
                faults.push("a BYE to a 2xx that was not acknowledged".into());
            }
            _ => {}
        }
        if matches!(&method[..], "ACK" | "CANCEL") {
            return;
        }
        let early = self.cseqs.get(&(call_id.clone(), from_tag.clone(), String::new())).copied();
        let last = self.cseqs.entry((call_id, from_tag, to_tag)).or_default();
        let highest = early.unwrap_or_default().max(*last);
        if cseq <= highest {
            faults.push(format!("CSeq {cseq} after {highest}"));
        }
        *last = cseq;
    }

    fn answer(&mut self, to: SocketAddr, message: Message<'_>, faults: &mut Vec<String>) {
        let Identity { branch, method, call_id, to_tag, .. } = Identity::of(message);
        let status = message.status().unwrap_or_default();
        if method == "INVITE" && (101..300).contains(&status) {
            self.shown.insert((call_id, to_tag.clone()));
        }
        if status > 100 && to_tag.is_empty() {
            faults.push("an answer without a To tag".into());
        }
        let last = self.statuses.entry((to, branch, method.clone())).or_default();
        // A CANCEL has no transaction of its own at Moorline: one that comes when its INVITE is forgotten is told so.
        if *last >= 200 && *last != status && method != "CANCEL" {
            faults.push(format!("{status} to a {method} that was answered {last}"));
        }
        *last = status;
    }

    fn learn(&mut self, listener: usize, message: Message<'_>) {
        let Identity { branch, call_id, from_tag, to_tag, .. } = Identity::of(message);
        let made = if message.is_request() { vec![branch, call_id, from_tag] } else { vec![to_tag] };
        let made = made.into_iter().filter(|made| !made.is_empty() && !made.contains(SECRETS[listener]));
        self.own[listener].extend(made);
    }

    /// Nothing of the other side may show.
    fn topology(&self, listener: usize, bytes: &[u8], faults: &mut Vec<String>) {
        let text = String::from_utf8_lossy(bytes);
        let other = 1 - listener;
        let secrets = [NETWORKS[other], SECRETS[other]].into_iter();
        for secret in secrets.chain(self.own[other].iter().map(String::as_str)) {
            if text.contains(secret) {
                faults.push(format!("{secret} of the other side shows"));
            }
        }
    }
}

/// What makes a message part of a transaction and of a dialog.
struct Identity {
    branch: String,
    method: String,
    cseq: u32,
    call_id: String,
    from_tag: String,
    to_tag: String,
}

impl Identity {
    fn of(message: Message<'_>) -> Identity {
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        let tag = |party: Result<moorline_sip::NameAddr<'_>, _>| {
            party.ok().and_then(|party| party.tag()).map(text).unwrap_or_default()
        };
        let (cseq, method) = message.cseq().map(|cseq| (cseq.number, text(cseq.method.as_bytes()))).unwrap_or_default();
        Identity {
            branch: message.via().ok().and_then(|via| via.branch).map(text).unwrap_or_default(),
            method,
            cseq,
            call_id: message.call_id().map(text).unwrap_or_default(),
            from_tag: tag(message.from()),
            to_tag: tag(message.to()),
        }
    }
}

/// A description names addresses of the media process only, and ports that it holds.
fn description(listener: usize, message: Message<'_>, media: Option<&MediaProcess>, faults: &mut Vec<String>) {
    let is_sdp = message.header(Name::ContentType).is_some_and(|value| value.eq_ignore_ascii_case(b"application/sdp"));
    if !is_sdp {
        return;
    }
    let text = String::from_utf8_lossy(message.body());
    let ours = |ip: &str| {
        let (_, network) = RANGES[listener];
        let network: Option<ipnet::IpNet> = network.parse().ok();
        ip.parse().ok().zip(network).is_some_and(|(ip, network)| network.contains(&std::net::IpAddr::V4(ip)))
    };
    let mut session_ip = "";
    let ports: Vec<&str> = text
        .lines()
        .filter_map(|line| line.strip_prefix("m="))
        .filter_map(|media| media.split(' ').nth(1))
        .filter(|port| *port != "0")
        .collect();
    for line in text.lines() {
        if let Some((_, ip)) = line.split_once("IN IP4 ") {
            // Without a stream in use there is no address of media to name.
            if !ours(ip) && !ports.is_empty() {
                faults.push(format!("the description names {ip}"));
            }
            if line.starts_with("c=") {
                session_ip = ip;
            }
        }
    }
    for port in ports {
        let address: Option<SocketAddr> = format!("{session_ip}:{port}").parse().ok();
        if media.is_some_and(|media| address.is_none_or(|address| !media.is_bound(address))) {
            faults.push(format!("the description names {session_ip}:{port}, which is not bound"));
        }
    }
}
