//! Where a process takes commands, by its configuration: whatever else is at fault in that, for a process may be told to
//! roll back what is.

use std::path::{Path, PathBuf};

use toml::{Table, Value};

use super::{ConfigError, Configuration, default_control_path};

/// The socket of who runs by this file, or by the built-in configuration.
///
/// # Errors
/// The file cannot be read, or is not TOML.
pub(crate) fn command_path(path: Option<&Path>) -> Result<PathBuf, ConfigError> {
    let text = path.and_then(|path| std::fs::read_to_string(path).ok());
    match text.and_then(|text| text.parse::<Table>().ok()) {
        Some(table) => Ok(said(&table)),
        None => Configuration::load(path).map(|configuration| configuration.signaling.command_path()),
    }
}

fn said(table: &Table) -> PathBuf {
    let key = |section: &str, key: &str| table.get(section)?.get(key).and_then(Value::as_str).map(PathBuf::from);
    let control = || key("signaling", "control").or_else(|| key("media", "control"));
    key("signaling", "command")
        .unwrap_or_else(|| control().unwrap_or_else(default_control_path).with_file_name("signaling.sock"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_socket_is_where_the_process_has_it_even_if_the_file_is_at_fault() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("file.toml");
        let whole =
            std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/../examples/default.toml")).expect("read");
        for keys in ["control = \"/run/a/media.sock\"", "command = \"/run/b/c.sock\"", ""] {
            std::fs::write(&path, whole.replacen("[signaling]", &format!("[signaling]\n{keys}"), 1)).expect("written");
            let configured = Configuration::load(Some(&path)).expect("no faults").signaling.command_path();
            assert_eq!(command_path(Some(&path)).expect("a path"), configured);
            let faulty = std::fs::read_to_string(&path).expect("read").replace("listener =", "listner =");
            std::fs::write(&path, faulty).expect("written");
            assert!(Configuration::load(Some(&path)).is_err());
            assert_eq!(command_path(Some(&path)).expect("a path"), configured);
        }
        std::fs::write(&path, "= no TOML").expect("written");
        assert!(command_path(Some(&path)).is_err());
    }
}
