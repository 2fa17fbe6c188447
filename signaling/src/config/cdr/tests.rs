//! What `[signaling.cdr]` may say, and where records go then.

use super::*;
use crate::Config;

fn cdr(text: &str) -> CdrConfig {
    toml::from_str::<Config>(text).expect("a configuration").cdr
}

/// The keys of the faults of records.
fn faults(text: &str) -> Vec<String> {
    let config: Config = toml::from_str(text).expect("a configuration");
    let faults = config.policy().expect_err("faults");
    assert!(faults.iter().all(|fault| !fault.remedy.is_empty()));
    faults.into_iter().map(|fault| fault.path).filter(|path| path.contains("cdr")).collect()
}

#[test]
fn records_go_where_the_state_is_unless_told_otherwise() {
    let state = Some(Path::new("/state"));
    let place = |text: &str| cdr(text).place(state);
    assert_eq!(place(""), Some(("/state/cdr".into(), true)));
    assert_eq!(place("[cdr]\ndirectory = \"/else\""), Some(("/else".into(), true)));
    assert_eq!(place("[cdr]\nenabled = false"), None);
    assert_eq!(cdr("[cdr.csv]").place(None), Some(("/var/lib/moorline/cdr".into(), true)));
}

#[test]
fn json_lines_are_written_where_nothing_else_is() {
    assert_eq!(cdr("").json(), Some(FilesConfig::default()));
    assert_eq!(cdr("[cdr]\nwhen_full = \"refuse\"").json(), Some(FilesConfig::default()));
    assert_eq!(cdr("[cdr.sqlite]").json(), None);
    assert_eq!(cdr("[cdr.sqlite]\n[cdr.json]\nkeep = 3").json().map(|files| files.keep), Some(3));
}

#[test]
fn a_radius_server_is_told_all_unless_told_otherwise() {
    let radius = |text: &str| {
        let text = format!("[cdr.radius]\nservers = []\nsecret_file = \"/secret\"\n{text}");
        toml::from_str::<Config>(&text).map(|config| config.cdr.radius.map(|radius| radius.vendor_attributes))
    };
    assert_eq!(radius(""), Ok(Some(VendorAttributes::Cisco)));
    assert_eq!(radius("vendor_attributes = \"none\""), Ok(Some(VendorAttributes::None)));
    let fault = radius("vendor_attributes = \"juniper\"").expect_err("no vendor of ours");
    assert!(fault.message().contains("expected `cisco` or `none`"), "{fault}");
}

#[test]
fn every_fault_names_its_key() {
    let text = "[cdr]\njournal_mb = 1\ndirectory = \"here\"\n[cdr.csv]\nrotate_mb = 0\nrotate_s = 1\n\
                [cdr.sqlite]\nfile = \"records.sqlite\"\n\
                [cdr.postgres]\nhost = \"\"\ndatabase = \"calls\"\nuser = \"moorline\"\ntable = \"a; drop\"\n\
                password_file = \"/nowhere/password\"\n\
                [cdr.radius]\nservers = []\nsecret_file = \"/nowhere/secret\"\ninterim_s = 5\nattempts = 0\n";
    let wanted = [
        "journal_mb",
        "directory",
        "sqlite.file",
        "csv.rotate_mb",
        "csv.rotate_s",
        "postgres.host",
        "postgres.table",
        "postgres.password_file",
        "radius.servers",
        "radius.attempts",
        "radius.secret_file",
        "radius.interim_s",
    ];
    assert_eq!(faults(text), wanted.map(|key| format!("signaling.cdr.{key}")));
    assert!(toml::from_str::<Config>("[cdr]\njurnal_mb = 5").is_err());
}
