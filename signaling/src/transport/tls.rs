//! Certificates: what a TLS listener shows, and whom it believes.

use std::path::Path;
use std::sync::Arc;
use std::time::SystemTime;

use rustls::crypto::aws_lc_rs::default_provider;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::server::WebPkiClientVerifier;
use rustls::{ClientConfig, RootCertStore, ServerConfig};
use tracing::warn;
use webpki::EndEntityCert;

use crate::config::{ClientsConfig, TlsConfig};

/// What connections are made with.
#[derive(Clone)]
pub(crate) struct Identity {
    /// For connections that are accepted.
    pub(crate) server: Arc<ServerConfig>,
    /// For connections that are opened.
    pub(crate) client: Arc<ClientConfig>,
}

/// Why files cannot be used.
#[derive(Debug, thiserror::Error)]
#[error("{problem}; {remedy}")]
pub(crate) struct Unusable {
    /// The key that names the file at fault.
    pub(crate) key: &'static str,
    pub(crate) problem: String,
    pub(crate) remedy: &'static str,
}

/// Reads the files. TLS 1.2 and 1.3 are spoken, nothing older.
pub(crate) fn load(files: &TlsConfig) -> Result<Identity, Unusable> {
    let provider = Arc::new(default_provider());
    let chain = certificates("certificate", &files.certificate)?;
    let refused = |error: rustls::Error| Unusable {
        key: "key",
        problem: format!("{} does not go with {}: {error}", files.key.display(), files.certificate.display()),
        remedy: "name the key that the certificate was made for",
    };
    let versions = |error: rustls::Error| Unusable {
        key: "certificate",
        problem: format!("TLS cannot be spoken here: {error}"),
        remedy: "remove \"tls\" from transports",
    };

    let server = ServerConfig::builder_with_provider(Arc::clone(&provider));
    let server = server.with_safe_default_protocol_versions().map_err(versions)?;
    let server = match &files.client_ca {
        None => server.with_no_client_auth(),
        Some(path) => {
            let roots = Arc::new(authorities("client_ca", path)?);
            let verifier = WebPkiClientVerifier::builder_with_provider(roots, Arc::clone(&provider));
            let verifier = match files.clients {
                ClientsConfig::Require => verifier,
                ClientsConfig::Allow => verifier.allow_unauthenticated(),
            };
            let verifier = verifier.build().map_err(|error| Unusable {
                key: "client_ca",
                problem: format!("{}: {error}", path.display()),
                remedy: "name a PEM file of the authorities' certificates",
            })?;
            server.with_client_cert_verifier(verifier)
        }
    };
    let server = server.with_single_cert(chain.clone(), key(&files.key)?).map_err(refused)?;

    let client = ClientConfig::builder_with_provider(provider);
    let client = client.with_safe_default_protocol_versions().map_err(versions)?;
    let roots = match &files.ca {
        Some(path) => authorities("ca", path)?,
        None => system_authorities(),
    };
    let client = client.with_root_certificates(roots).with_client_auth_cert(chain, key(&files.key)?);
    let client = client.map_err(refused)?;
    Ok(Identity { server: Arc::new(server), client: Arc::new(client) })
}

/// Who a certificate, which an authority has signed, is for: the SIP domains of its URIs, where it has any, and its DNS names
/// and addresses where not (RFC 5922 section 7). A wildcard is for nobody.
pub(crate) struct Subject<'a> {
    certificate: EndEntityCert<'a>,
}

impl<'a> Subject<'a> {
    /// `None` for what is no certificate.
    pub(crate) fn of(certificate: &'a CertificateDer<'_>) -> Option<Subject<'a>> {
        Some(Subject { certificate: EndEntityCert::try_from(certificate).ok()? })
    }

    /// Whether it is this SIP domain, host or address.
    pub(crate) fn is(&self, name: &str) -> bool {
        let mut domains = self.certificate.valid_uri_names().filter_map(domain).peekable();
        if domains.peek().is_some() {
            return domains.any(|domain| domain.eq_ignore_ascii_case(name));
        }
        match ServerName::try_from(name) {
            Ok(ServerName::DnsName(_)) => {
                self.certificate.valid_dns_names().any(|shown| shown.eq_ignore_ascii_case(name))
            }
            Ok(address) => self.certificate.verify_is_valid_for_subject_name(&address).is_ok(),
            Err(_) => false,
        }
    }
}

/// The domain that a SIP URI of a certificate is for; `None` for one of another scheme, or of a user (RFC 5922 section 7.1).
fn domain(uri: &str) -> Option<&str> {
    let (scheme, domain) = uri.split_once(':')?;
    (scheme.eq_ignore_ascii_case("sip") && !domain.contains('@')).then_some(domain)
}

/// When each of the files was last changed; `None` for one that is not there.
pub(crate) fn changed_at(files: &TlsConfig) -> Vec<Option<SystemTime>> {
    let paths = [Some(&files.certificate), Some(&files.key), files.ca.as_ref(), files.client_ca.as_ref()];
    let changed = |path: &std::path::PathBuf| std::fs::metadata(path).and_then(|file| file.modified()).ok();
    paths.into_iter().flatten().map(changed).collect()
}

fn certificates(key: &'static str, path: &Path) -> Result<Vec<CertificateDer<'static>>, Unusable> {
    let remedy = "name a PEM file of certificates that this user can read";
    let unusable = |problem: String| Unusable { key, problem, remedy };
    let found = CertificateDer::pem_file_iter(path).and_then(Iterator::collect::<Result<Vec<_>, _>>);
    match found {
        Ok(found) if found.is_empty() => Err(unusable(format!("{} holds no certificate", path.display()))),
        Ok(found) => Ok(found),
        Err(error) => Err(unusable(format!("{}: {error}", path.display()))),
    }
}

fn key(path: &Path) -> Result<PrivateKeyDer<'static>, Unusable> {
    PrivateKeyDer::from_pem_file(path).map_err(|error| Unusable {
        key: "key",
        problem: format!("{}: {error}", path.display()),
        remedy: "name a PEM file with a private key that this user can read",
    })
}

fn authorities(key: &'static str, path: &Path) -> Result<RootCertStore, Unusable> {
    let mut store = RootCertStore::empty();
    for certificate in certificates(key, path)? {
        store.add(certificate).map_err(|error| Unusable {
            key,
            problem: format!("{}: {error}", path.display()),
            remedy: "name a PEM file of the authorities' certificates",
        })?;
    }
    Ok(store)
}

/// A host without any can serve; of what it connects to, it believes nobody.
fn system_authorities() -> RootCertStore {
    let found = rustls_native_certs::load_native_certs();
    for error in &found.errors {
        warn!("the system's certificates of authorities: {error}");
    }
    let mut store = RootCertStore::empty();
    let (_added, _ignored) = store.add_parsable_certificates(found.certs);
    store
}
