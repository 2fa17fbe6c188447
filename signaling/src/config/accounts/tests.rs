use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;

use moorline_b2bua::policy::{EndpointMedia, Policy, WhenFull};
use moorline_sip::digest::Hash;

use crate::Config;

const PHONES: &str = r#"
[[listeners]]
name = "l"
bind = "127.0.0.1:5060"

[[trunks]]
name = "phones"
listener = "l"
sources = ["127.0.0.0/8"]

[trunks.authentication]
realm = "phones.example"
users = [
    { name = "6000", password = "1234-secret", arrears = true },
    { name = "6001", ha1_md5 = "0123456789abcdef0123456789abcdef", max_contacts = 2, numbers = ["021"] },
]

[trunks.registrar]
max_contacts = 3
when_full = "refuse"
media = "anchor"
"#;

const CARRIER: &str = r#"
[[listeners]]
name = "l"
bind = "127.0.0.1:5060"

[[trunks]]
name = "ims"
listener = "l"
targets = ["127.0.0.2:5060"]

[trunks.credentials]
user = "+8612345678"
password = "very-secret"
user_with_domain = true

[trunks.registration]
user = "+8612345678"
domain = "gd.ctcims.cn"
new_call_id = true
"#;

fn policy(text: &str) -> Result<Policy, Vec<String>> {
    let config: Config = toml::from_str(text).expect("TOML");
    assert!(!format!("{config:?}").contains("-secret"), "a password shows");
    let policy = config.policy();
    policy.map_err(|faults| faults.iter().map(ToString::to_string).collect())
}

/// What is wrong after a change.
fn faults(text: &str, from: &str, to: &str) -> String {
    assert!(text.contains(from), "{from}");
    policy(&text.replacen(from, to, 1)).expect_err("a fault").join("\n")
}

/// A file in a folder of its own.
fn file(name: &str, mode: u32, text: &str) -> (PathBuf, PathBuf) {
    let folder = std::env::temp_dir().join(format!("moorline-accounts-{}-{name}", std::process::id()));
    fs::create_dir_all(&folder).expect("a folder");
    let path = folder.join("file");
    fs::write(&path, text).expect("written");
    fs::set_permissions(&path, Permissions::from_mode(mode)).expect("a mode");
    (folder, path)
}

#[test]
fn endpoints_and_their_users() {
    let policy = policy(PHONES).expect("a policy");
    let trunk = &policy.trunks[0];
    let endpoints = trunk.endpoints.as_ref().expect("a registrar");
    assert_eq!((endpoints.max_contacts, endpoints.when_full), (3, WhenFull::Refuse));
    assert_eq!((endpoints.media, endpoints.default_expires_s), (EndpointMedia::Anchor, 3600));
    let authentication = trunk.authentication.as_ref().expect("users");
    // One password is known as its MD5 hash only.
    assert_eq!(authentication.algorithms, [Hash::Md5]);
    let user = authentication.users.find(b"6001").expect("a user");
    assert!(!user.arrears && authentication.users.find(b"6000").is_some_and(|user| user.arrears));
    assert!(user.may_call_from(b"021") && !user.may_call_from(b"6000") && user.enabled);
    assert!(!format!("{policy:?}").contains("-secret"));
}

#[test]
fn a_trunk_that_wants_credentials_and_a_registration() {
    let policy = policy(CARRIER).expect("a policy");
    let trunk = &policy.trunks[0];
    assert_eq!(trunk.credentials.as_ref().expect("credentials").user, "+8612345678@gd.ctcims.cn");
    assert_eq!(trunk.domain.as_deref(), Some("gd.ctcims.cn"));
    let registration = trunk.registration.as_ref().expect("a registration");
    assert!(registration.new_call_id);
    assert_eq!((registration.domain.as_str(), registration.expires_s), ("gd.ctcims.cn", 3600));
    assert!(!format!("{policy:?}").contains("-secret"));
}

#[test]
fn what_cannot_be_meant_is_refused() {
    for (text, from, to, said) in [
        (PHONES, "name = \"6001\"", "name = \"6000\"", "named twice"),
        (PHONES, "name = \"6001\"", "name = \"60 01\"", "no user name"),
        (PHONES, "password = \"1234-secret\"", "enabled = true", "not one kind of password"),
        (PHONES, "password = \"1234-secret\"", "password = \"\"", "not one kind of password"),
        (PHONES, "0123456789abcdef0123456789abcdef", "0123", "a hash that is none"),
        (PHONES, "max_contacts = 2", "max_contacts = 17", "out of bounds"),
        (PHONES, "max_contacts = 3", "max_contacts = 0", "out of bounds"),
        (PHONES, "max_contacts = 3", "min_expires_s = 4000", "out of bounds, or of order"),
        (PHONES, "max_contacts = 3", "keep_alive_s = 1", "out of bounds"),
        (PHONES, "realm = \"phones.example\"", "realm = \"\"", "no realm"),
        (PHONES, "realm = \"phones.example\"", "realm = \"a\"\nradius = true", "no RADIUS server"),
        (PHONES, "password = \"1234-secret\"", "ha1_sha256 = \"00\"", "no algorithm"),
        (CARRIER, "password = \"very-secret\"\n", "", "one password"),
        (CARRIER, "password = \"very-secret\"", "password_file = \"/nonexistent\"", "cannot be read"),
        (CARRIER, "domain = \"gd.ctcims.cn\"\n", "", "no domain"),
        (CARRIER, "new_call_id = true", "expires_s = 1", "out of bounds"),
        (CARRIER, "user = \"+8612345678\"\ndomain", "user = \"a@b\"\ndomain", "no user part"),
    ] {
        let found = faults(text, from, to);
        assert!(found.contains(said), "{to}: {found}");
        assert!(!found.contains("-secret"), "{found}");
    }
    let open = PHONES.split("[trunks.authentication]").next().expect("the head").to_owned() + "[trunks.registrar]\n";
    assert!(policy(&open).expect_err("a fault").join("").contains("anybody could register"));
}

#[test]
fn users_come_from_a_file_that_strangers_cannot_read() {
    let users = "[[users]]\nname = \"7000\"\npassword = \"file-secret\"\n";
    for (name, mode, text, said) in [
        ("good", 0o640, users, None),
        ("open", 0o644, users, Some("mode 0644")),
        ("wrong", 0o600, "[[users]]\nname = \"7000\"\npasword = \"file-secret\"\n", Some("line 3")),
        ("none", 0o600, "", Some("users")),
    ] {
        let (folder, path) = file(name, mode, text);
        let with_file = PHONES.replace("users = [", &format!("users_file = {path:?}\nusers = ["));
        match (policy(&with_file), said) {
            (Ok(policy), None) => {
                let authentication = policy.trunks[0].authentication.as_ref().expect("users");
                assert_eq!(authentication.users.len(), 3);
            }
            (Err(found), Some(said)) => {
                let found = found.join("\n");
                assert!(found.contains(said) && !found.contains("file-secret"), "{name}: {found}");
            }
            (outcome, _) => panic!("{name}: {:?}", outcome.err()),
        }
        fs::remove_dir_all(folder).expect("removed");
    }
}

#[test]
fn a_password_comes_from_a_file_of_one_line() {
    for (name, text, good) in [("line", "file-secret\n", true), ("lines", "a\nb\n", false), ("empty", "\n", false)] {
        let (folder, path) = file(name, 0o600, text);
        let outcome = policy(&CARRIER.replace("password = \"very-secret\"", &format!("password_file = {path:?}")));
        assert_eq!(outcome.is_ok(), good, "{name}");
        fs::remove_dir_all(folder).expect("removed");
    }
}
