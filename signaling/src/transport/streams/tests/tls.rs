//! TLS on loopback, with an authority made for the test.

use std::path::PathBuf;
use std::sync::Arc;

use moorline_b2bua::policy::Trunk;
use moorline_sip::transaction::Identity;
use rcgen::string::Ia5String;
use rcgen::{BasicConstraints, CertificateParams, DnType, IsCa, Issuer, KeyPair, SanType};
use rustls::crypto::aws_lc_rs::default_provider;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::version::{TLS12, TLS13};
use rustls::{ClientConfig, ProtocolVersion, RootCertStore, ServerConfig, SupportedProtocolVersion};
use tempfile::TempDir;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;
use tokio::time::timeout;
use tokio_rustls::client::TlsStream;
use tokio_rustls::{TlsAcceptor, TlsConnector};

use super::{PATIENCE, Policy, Setting, Stage, message, on_the_thread};
use crate::config::{ClientsConfig, TlsConfig};
use crate::transport::streams::Command;
use crate::transport::tls::{Subject, load};

/// An authority, and a folder for what it signs.
struct Authority {
    folder: TempDir,
    issuer: Issuer<'static, KeyPair>,
    certificate: String,
}

impl Authority {
    fn new() -> Authority {
        let key = KeyPair::generate().unwrap();
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.distinguished_name.push(DnType::CommonName, "an authority of this test");
        let certificate = params.self_signed(&key).unwrap().pem();
        let authority =
            Authority { folder: tempfile::tempdir().unwrap(), issuer: Issuer::new(params, key), certificate };
        std::fs::write(authority.path("ca.pem"), &authority.certificate).unwrap();
        authority
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// Signs a certificate for `subject` into `name`.pem and `name`.key.
    fn sign(&self, name: &str, subject: &str) {
        let key = KeyPair::generate().unwrap();
        let params = CertificateParams::new(vec![subject.to_owned()]).unwrap();
        let certificate = params.signed_by(&key, &self.issuer).unwrap();
        std::fs::write(self.path(&format!("{name}.pem")), certificate.pem()).unwrap();
        std::fs::write(self.path(&format!("{name}.key")), key.serialize_pem()).unwrap();
    }

    /// A far end that shows this certificate to whoever connects.
    fn server(&self, name: &str) -> TlsAcceptor {
        let (chain, key) = self.chain(name);
        let config = ServerConfig::builder_with_provider(Arc::new(default_provider()));
        let config = config.with_safe_default_protocol_versions().unwrap().with_no_client_auth();
        TlsAcceptor::from(Arc::new(config.with_single_cert(chain, key).unwrap()))
    }

    fn files(&self) -> TlsConfig {
        TlsConfig {
            certificate: self.path("own.pem"),
            key: self.path("own.key"),
            ca: Some(self.path("ca.pem")),
            client_ca: None,
            clients: ClientsConfig::Require,
        }
    }

    fn chain(&self, name: &str) -> (Vec<CertificateDer<'static>>, PrivateKeyDer<'static>) {
        let chain = CertificateDer::pem_file_iter(self.path(&format!("{name}.pem"))).unwrap();
        let key = PrivateKeyDer::from_pem_file(self.path(&format!("{name}.key"))).unwrap();
        (chain.map(Result::unwrap).collect(), key)
    }

    /// A client that believes this authority, speaks one version, and may show a certificate.
    async fn client(
        &self,
        stage: &Stage,
        version: &'static SupportedProtocolVersion,
        shows: Option<&str>,
    ) -> std::io::Result<TlsStream<tokio::net::TcpStream>> {
        let mut roots = RootCertStore::empty();
        roots.add(CertificateDer::from_pem_slice(self.certificate.as_bytes()).unwrap()).unwrap();
        let config = ClientConfig::builder_with_provider(Arc::new(default_provider()));
        let config = config.with_protocol_versions(&[version]).unwrap().with_root_certificates(roots);
        let config = match shows {
            None => config.with_no_client_auth(),
            Some(name) => {
                let (chain, key) = self.chain(name);
                config.with_client_auth_cert(chain, key).unwrap()
            }
        };
        let name = ServerName::from(stage.address.ip());
        let stream = stage.connect().await;
        timeout(PATIENCE, TlsConnector::from(Arc::new(config)).connect(name, stream)).await.expect("a handshake")
    }
}

fn stage(files: TlsConfig) -> Stage {
    let mut stage = Stage::new(Setting { tls: Some(files), ..Setting::default() });
    stage.start();
    stage
}

fn authority() -> Authority {
    let authority = Authority::new();
    authority.sign("own", "127.0.0.1");
    authority
}

/// A message there, and one back.
async fn converses(stage: &mut Stage, peer: &mut TlsStream<tokio::net::TcpStream>) {
    let remote = peer.get_ref().0.local_addr().unwrap();
    peer.write_all(&message(1)).await.unwrap();
    stage.receives(remote, &message(1)).await;
    stage.transmit(remote, &message(2));
    let mut got = vec![0; message(2).len()];
    timeout(PATIENCE, peer.read_exact(&mut got)).await.unwrap().unwrap();
    assert_eq!(got, message(2));
}

/// Whether the far end lets the connection live: with TLS 1.3 a client learns of a refusal only after its handshake.
async fn is_refused(peer: std::io::Result<TlsStream<tokio::net::TcpStream>>) -> bool {
    match peer {
        Err(_) => true,
        Ok(mut peer) => timeout(PATIENCE, peer.read(&mut [0; 1])).await.expect("an end").is_err(),
    }
}

#[tokio::test]
async fn both_versions_of_tls_are_spoken() {
    on_the_thread(async {
        let authority = authority();
        let mut stage = stage(authority.files());
        for (version, name) in [(&TLS12, ProtocolVersion::TLSv1_2), (&TLS13, ProtocolVersion::TLSv1_3)] {
            let mut peer = authority.client(&stage, version, None).await.unwrap();
            assert_eq!(peer.get_ref().1.protocol_version(), Some(name));
            converses(&mut stage, &mut peer).await;
            let remote = peer.get_ref().0.local_addr().unwrap();
            drop(peer);
            stage.learns_of_break(remote).await;
        }
    })
    .await;
}

#[tokio::test]
async fn what_is_no_tls_is_counted_and_closed() {
    on_the_thread(async {
        let authority = authority();
        let stage = stage(authority.files());
        let mut peer = stage.connect().await;
        peer.write_all(&message(1)).await.unwrap();
        let _ending = timeout(PATIENCE, peer.read_to_end(&mut Vec::new())).await.expect("it is closed");
        stage.until("handshakes failed", |counts| &counts.handshakes_failed, 1).await;
    })
    .await;
}

#[tokio::test]
async fn clients_show_a_certificate_where_they_must() {
    on_the_thread(async {
        let (authority, foreign) = (authority(), Authority::new());
        authority.sign("client", "client.example");
        foreign.sign("client", "client.example");
        for name in ["client.pem", "client.key"] {
            std::fs::copy(foreign.path(name), authority.path(&format!("foreign-{name}"))).unwrap();
        }
        std::fs::rename(authority.path("foreign-client.pem"), authority.path("foreign.pem")).unwrap();
        std::fs::rename(authority.path("foreign-client.key"), authority.path("foreign.key")).unwrap();
        for (clients, without) in [(ClientsConfig::Require, false), (ClientsConfig::Allow, true)] {
            let client_ca = Some(authority.path("ca.pem"));
            let mut stage = stage(TlsConfig { client_ca, clients, ..authority.files() });
            for version in [&TLS12, &TLS13] {
                let mut peer = authority.client(&stage, version, Some("client")).await.unwrap();
                converses(&mut stage, &mut peer).await;
                let remote = peer.get_ref().0.local_addr().unwrap();
                drop(peer);
                stage.learns_of_break(remote).await;

                assert!(is_refused(authority.client(&stage, version, Some("foreign")).await).await, "{clients:?}");
                let bare = authority.client(&stage, version, None).await;
                if without {
                    converses(&mut stage, &mut bare.unwrap()).await;
                    stage.mail().await;
                } else {
                    assert!(is_refused(bare).await);
                }
            }
        }
    })
    .await;
}

#[tokio::test]
async fn clients_show_who_they_are_where_their_trunk_asks_for_that() {
    on_the_thread(async {
        let authority = authority();
        authority.sign("client", "client.example");
        authority.sign("other", "other.example");
        let client_ca = Some(authority.path("ca.pem"));
        let tls = Some(TlsConfig { client_ca, ..authority.files() });
        let mut stage =
            Stage::new(Setting { tls, identities: &["nobody.example", "client.example"], ..Setting::default() });
        stage.start();
        for version in [&TLS12, &TLS13] {
            let mut peer = authority.client(&stage, version, Some("client")).await.unwrap();
            let remote = peer.get_ref().0.local_addr().unwrap();
            stage.shown.insert(remote, Identity::of("peer"));
            converses(&mut stage, &mut peer).await;
            drop(peer);
            stage.learns_of_break(remote).await;
            // Signed by the same authority, for somebody else.
            let mut peer = authority.client(&stage, version, Some("other")).await.unwrap();
            let _ending = timeout(PATIENCE, peer.read_to_end(&mut Vec::new())).await.expect("it is closed");
        }
        stage.until("handshakes failed", |counts| &counts.handshakes_failed, 2).await;
    })
    .await;
}

#[tokio::test]
async fn a_connection_ends_when_its_trunk_no_longer_means_who_made_it() {
    on_the_thread(async {
        let authority = authority();
        authority.sign("client", "client.example");
        authority.sign("other", "other.example");
        let client_ca = Some(authority.path("ca.pem"));
        let tls = Some(TlsConfig { client_ca, ..authority.files() });
        let identities = &["client.example", "other.example"];
        let mut stage = Stage::new(Setting { tls, identities, ..Setting::default() });
        stage.start();
        let mut client = authority.client(&stage, &TLS13, Some("client")).await.unwrap();
        let mut other = authority.client(&stage, &TLS13, Some("other")).await.unwrap();
        for peer in [&mut client, &mut other] {
            stage.shown.insert(peer.get_ref().0.local_addr().unwrap(), Identity::of("peer"));
            converses(&mut stage, peer).await;
        }
        // Something else changes; then the one is no longer named.
        let mut policy = Policy::clone(&stage.policies.borrow());
        policy.limits.calls += 1;
        stage.policies.send_replace(Arc::new(policy.clone()));
        converses(&mut stage, &mut client).await;
        policy.trunks[0].tls_identities.remove(0);
        stage.policies.send_replace(Arc::new(policy.clone()));
        let remote = client.get_ref().0.local_addr().unwrap();
        assert_eq!(timeout(PATIENCE, client.read(&mut [0; 1])).await.expect("an end").unwrap(), 0, "it is closed");
        stage.learns_of_break(remote).await;
        stage.until("connections cut", |counts| &counts.cut, 1).await;
        converses(&mut stage, &mut other).await;
        // Who is let in by the address alone may stay, whatever it has shown.
        policy.trunks[0].tls_identities.clear();
        stage.policies.send_replace(Arc::new(policy.clone()));
        converses(&mut stage, &mut other).await;
        // Whose address no trunk has any more is a stranger.
        policy.trunks[0].sources.retain(|net| !net.contains(&stage.address.ip()));
        stage.policies.send_replace(Arc::new(policy));
        assert_eq!(timeout(PATIENCE, other.read(&mut [0; 1])).await.expect("an end").unwrap(), 0, "it is closed");
    })
    .await;
}

#[tokio::test]
async fn trunks_of_one_address_are_told_apart_by_what_is_shown() {
    on_the_thread(async {
        let authority = authority();
        authority.sign("client", "client.example");
        authority.sign("other", "other.example");
        let client_ca = Some(authority.path("ca.pem"));
        let tls = TlsConfig { client_ca, clients: ClientsConfig::Allow, ..authority.files() };
        let mut stage = Stage::new(Setting { tls: Some(tls), identities: &["client.example"], ..Setting::default() });
        stage.start();
        let mut policy = Policy::clone(&stage.policies.borrow());
        let trunk = policy.trunks[0].clone();
        let named = |name: &str, names: &[&str]| Trunk {
            name: name.into(),
            tls_identities: names.iter().map(|name| (*name).to_owned()).collect(),
            ..trunk.clone()
        };
        policy.trunks =
            vec![named("a", &["nobody.example", "Client.example"]), named("b", &["other.example"]), named("c", &[])];
        stage.policies.send_replace(Arc::new(policy.clone()));
        for (certificate, name, trunk) in
            [(Some("client"), Some("a"), 0), (Some("other"), Some("b"), 1), (None, None, 2)]
        {
            let mut peer = authority.client(&stage, &TLS13, certificate).await.unwrap();
            let remote = peer.get_ref().0.local_addr().unwrap();
            stage.shown.extend(name.map(|name| (remote, Identity::of(name))));
            converses(&mut stage, &mut peer).await;
            assert_eq!(policy.ingress(stage.flow(remote)), Some(trunk), "{certificate:?}");
            drop(peer);
            stage.learns_of_break(remote).await;
        }
        // Who has shown a name before anybody asked is closed on, to come again as whose he is.
        let mut early = authority.client(&stage, &TLS13, Some("client")).await.unwrap();
        let mut bare = authority.client(&stage, &TLS13, None).await.unwrap();
        let mut unasked = policy.clone();
        unasked.trunks.remove(0);
        stage.policies.send_replace(Arc::new(unasked));
        let _ending = timeout(PATIENCE, early.read_to_end(&mut Vec::new())).await.expect("it is closed");
        let mut early = authority.client(&stage, &TLS13, Some("client")).await.unwrap();
        converses(&mut stage, &mut early).await;
        stage.policies.send_replace(Arc::new(policy.clone()));
        let _ending = timeout(PATIENCE, early.read_to_end(&mut Vec::new())).await.expect("it is closed");
        stage.mail().await;
        converses(&mut stage, &mut bare).await;
        // Where each asks for a name, who shows none is a stranger.
        policy.trunks.truncate(2);
        stage.policies.send_replace(Arc::new(policy));
        let mut bare = authority.client(&stage, &TLS13, None).await.unwrap();
        let _ending = timeout(PATIENCE, bare.read_to_end(&mut Vec::new())).await.expect("it is closed");
        stage.until("handshakes failed", |counts| &counts.handshakes_failed, 1).await;
        stage.until("connections cut", |counts| &counts.cut, 3).await;
    })
    .await;
}

#[test]
fn a_certificate_is_for_the_names_that_stand_in_it() {
    let (key, host) = (KeyPair::generate().unwrap(), "PBX.example");
    let is_for = |subjects: &[&str], name: &str| {
        let named = |subject: &&str| match subject.split_once(':') {
            Some(_) => SanType::URI(Ia5String::try_from(*subject).unwrap()),
            None => match subject.parse() {
                Ok(address) => SanType::IpAddress(address),
                Err(_) => SanType::DnsName(Ia5String::try_from(*subject).unwrap()),
            },
        };
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.subject_alt_names = subjects.iter().map(named).collect();
        Subject::of(params.self_signed(&key).unwrap().der()).expect("a certificate").is(name)
    };
    for subjects in
        [&["pbx.example"][..], &["other.example", "pbx.example"], &["sip:pbx.example"], &["https://x", host]]
    {
        assert!(is_for(subjects, "pbx.example"), "{subjects:?}");
    }
    assert!(is_for(&["192.0.2.1"], "192.0.2.1") && !is_for(&["192.0.2.1"], "192.0.2.2"));
    let others = [
        &["other.example"][..],
        &["*.example"],
        &["sip:*.example"],
        &["sip:alice@pbx.example"],
        &["https://pbx.example"],
        // SIP URIs say it all.
        &["sip:other.example", "pbx.example"],
    ];
    for subjects in others {
        assert!(!is_for(subjects, "pbx.example"), "{subjects:?}");
    }
}

#[tokio::test]
async fn a_certificate_is_exchanged_without_a_restart() {
    on_the_thread(async {
        let authority = authority();
        let mut stage = stage(authority.files());
        let shown = |peer: &TlsStream<tokio::net::TcpStream>| {
            peer.get_ref().1.peer_certificates().map(|chain| chain[0].to_vec())
        };
        let mut old = authority.client(&stage, &TLS13, None).await.unwrap();
        let first = shown(&old);

        authority.sign("own", "127.0.0.1");
        stage.streams.reload();
        let new = authority.client(&stage, &TLS13, None).await.unwrap();
        assert_ne!(shown(&new), first);
        converses(&mut stage, &mut old).await;

        // A file that does not load leaves what was there.
        std::fs::write(authority.path("own.pem"), "no certificate").unwrap();
        stage.streams.reload();
        let same = authority.client(&stage, &TLS13, None).await.unwrap();
        assert_eq!(shown(&same), shown(&new));

        // Nobody has to say that a file has changed.
        tokio::task::spawn_local(std::rc::Rc::clone(&stage.streams).watch(std::time::Duration::from_millis(20)));
        tokio::time::sleep(std::time::Duration::from_millis(30)).await;
        authority.sign("own", "127.0.0.1");
        let noticed = async {
            loop {
                let peer = authority.client(&stage, &TLS13, None).await.unwrap();
                if shown(&peer) != shown(&new) {
                    return;
                }
                tokio::time::sleep(std::time::Duration::from_millis(20)).await;
            }
        };
        timeout(PATIENCE, noticed).await.expect("the new certificate is shown");
    })
    .await;
}

#[tokio::test]
async fn a_server_must_show_that_it_is_who_was_meant() {
    on_the_thread(async {
        let authority = authority();
        authority.sign("named", "sip.carrier.example");
        let mut stage = stage(authority.files());
        for (name, told, good) in [
            ("own", None, true),
            ("named", None, false),
            ("named", Some("sip.carrier.example"), true),
            ("named", Some("sip.other.example"), false),
        ] {
            let target = TcpListener::bind("127.0.0.1:0").await.unwrap();
            let remote = target.local_addr().unwrap();
            let acceptor = authority.server(name);
            if let Some(told) = told {
                stage.streams.carry_out(Command::Name { remote, name: told.into() });
            }
            stage.transmit(remote, &message(1));
            let (stream, _) = timeout(PATIENCE, target.accept()).await.unwrap().unwrap();
            let accepted = timeout(PATIENCE, acceptor.accept(stream)).await.unwrap();
            if good {
                let mut peer = accepted.unwrap();
                let mut got = vec![0; message(1).len()];
                timeout(PATIENCE, peer.read_exact(&mut got)).await.unwrap().unwrap();
                peer.write_all(&message(2)).await.unwrap();
                stage.receives(remote, &message(2)).await;
                drop(peer);
            }
            stage.learns_of_break(remote).await;
        }
        stage.until("handshakes failed", |counts| &counts.handshakes_failed, 2).await;
    })
    .await;
}

#[test]
fn files_at_fault_are_named_by_their_key() {
    let authority = authority();
    authority.sign("other", "127.0.0.1");
    let missing = || authority.path("missing.pem");
    let good = authority.files();
    for (files, key) in [
        (TlsConfig { certificate: missing(), ..good.clone() }, "certificate"),
        (TlsConfig { certificate: authority.path("own.key"), ..good.clone() }, "certificate"),
        (TlsConfig { key: missing(), ..good.clone() }, "key"),
        (TlsConfig { key: authority.path("own.pem"), ..good.clone() }, "key"),
        (TlsConfig { key: authority.path("other.key"), ..good.clone() }, "key"),
        (TlsConfig { ca: Some(missing()), ..good.clone() }, "ca"),
        (TlsConfig { client_ca: Some(authority.path("own.key")), ..good.clone() }, "client_ca"),
    ] {
        let unusable = load(&files).err().unwrap_or_else(|| panic!("{files:?} is good"));
        assert_eq!(unusable.key, key, "{unusable}");
        assert!(!unusable.remedy.is_empty());
    }
    assert!(load(&good).is_ok());
}
