//! One question to DNS, and its answer in the locator's terms.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use hickory_resolver::config::{ConnectionConfig, NameServerConfig, ResolverConfig};
use hickory_resolver::net::runtime::TokioRuntimeProvider;
use hickory_resolver::net::{DnsError, NetError};
use hickory_resolver::proto::op::ResponseCode;
use hickory_resolver::proto::rr::{Name, RData, Record, RecordType};
use hickory_resolver::{Resolver, TokioResolver};
use moorline_b2bua::locate::{Answer, Failure, Naptr, RecordKind, Records, Srv};

use super::DnsConfig;

/// How long "there are none" may be kept where the answer does not say (RFC 2308 section 5).
const UNTOLD_NEGATIVE_TTL_S: u32 = 60;

/// The servers to ask.
#[derive(Clone)]
pub(super) struct Dns {
    resolver: Arc<TokioResolver>,
}

impl Dns {
    pub(super) fn new(config: &DnsConfig) -> Result<Dns, NetError> {
        let mut builder = if config.servers.is_empty() {
            Resolver::builder_tokio()?
        } else {
            let servers = config.servers.iter().map(|server| {
                let connections =
                    [ConnectionConfig::udp(), ConnectionConfig::tcp()].into_iter().map(|mut connection| {
                        connection.port = server.port();
                        connection
                    });
                NameServerConfig::new(server.ip(), true, connections.collect())
            });
            let system = ResolverConfig::from_parts(None, Vec::new(), servers.collect());
            Resolver::builder_with_config(system, TokioRuntimeProvider::default())
        };
        let options = builder.options_mut();
        options.timeout = Duration::from_millis(u64::from(config.timeout_ms));
        // The locator asks again, and keeps what is answered.
        options.attempts = 0;
        options.cache_size = 0;
        // Aliases' times to live count too.
        options.preserve_intermediates = true;
        options.edns0 = true;
        Ok(Dns { resolver: Arc::new(builder.build()?) })
    }

    pub(super) async fn ask(&self, kind: RecordKind, name: &str) -> Result<Answer, Failure> {
        let Ok(mut owner) = Name::from_ascii(name) else { return Err(none(None)) };
        // Complete as it is: no search domain is put behind it.
        owner.set_fqdn(true);
        let record_type = match kind {
            RecordKind::Naptr => RecordType::NAPTR,
            RecordKind::Srv => RecordType::SRV,
            RecordKind::A => RecordType::A,
            RecordKind::Aaaa => RecordType::AAAA,
        };
        match self.resolver.lookup(owner, record_type).await {
            Ok(lookup) => {
                let ttl_s = lookup.answers().iter().map(|record| record.ttl).min().unwrap_or_default();
                Ok(Answer { records: records(kind, lookup.answers()), ttl_s })
            }
            Err(NetError::Dns(DnsError::NoRecordsFound(found))) => match found.response_code {
                ResponseCode::NXDomain | ResponseCode::NoError => Err(none(found.negative_ttl)),
                _ => Err(Failure::Unavailable),
            },
            Err(_) => Err(Failure::Unavailable),
        }
    }
}

fn none(ttl_s: Option<u32>) -> Failure {
    Failure::NoRecords { ttl_s: ttl_s.unwrap_or(UNTOLD_NEGATIVE_TTL_S) }
}

/// Those of the kind asked for, in the order in which they came.
fn records(kind: RecordKind, answers: &[Record]) -> Records {
    let data = answers.iter().map(|record| &record.data);
    match kind {
        RecordKind::Naptr => Records::Naptr(
            data.filter_map(|data| match data {
                RData::NAPTR(naptr) => Some(Naptr {
                    order: naptr.order,
                    preference: naptr.preference,
                    flags: text(&naptr.flags),
                    service: text(&naptr.services),
                    regexp: text(&naptr.regexp),
                    replacement: naptr.replacement.to_ascii(),
                }),
                _ => None,
            })
            .collect(),
        ),
        RecordKind::Srv => Records::Srv(
            data.filter_map(|data| match data {
                RData::SRV(srv) => Some(Srv {
                    priority: srv.priority,
                    weight: srv.weight,
                    port: srv.port,
                    target: srv.target.to_ascii(),
                }),
                _ => None,
            })
            .collect(),
        ),
        RecordKind::A | RecordKind::Aaaa => Records::Addresses(
            data.filter_map(|data| match data {
                RData::A(address) if kind == RecordKind::A => Some(IpAddr::V4(address.0)),
                RData::AAAA(address) if kind == RecordKind::Aaaa => Some(IpAddr::V6(address.0)),
                _ => None,
            })
            .collect(),
        ),
    }
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}
