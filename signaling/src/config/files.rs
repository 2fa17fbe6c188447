//! The files that a reload reads besides the configuration.

use std::path::{Path, PathBuf};

use super::Config;

impl Config {
    /// Their paths, in an order that depends on nothing else than the configuration.
    pub(crate) fn files(&self) -> Vec<PathBuf> {
        // It is small, save for the files.
        self.clone().files_mut().into_iter().map(|path| path.clone()).collect()
    }

    /// Has copies of them read in their place: `0`, `1`, ... in a directory.
    pub fn use_copies(&mut self, directory: &Path) {
        for (number, path) in self.files_mut().into_iter().enumerate() {
            *path = directory.join(number.to_string());
        }
    }

    fn files_mut(&mut self) -> Vec<&mut PathBuf> {
        let mut files: Vec<&mut PathBuf> = self.routes_file.iter_mut().collect();
        for trunk in &mut self.trunks {
            files.extend(trunk.authentication.iter_mut().filter_map(|users| users.users_file.as_mut()));
            files.extend(trunk.credentials.iter_mut().filter_map(|credentials| credentials.password_file.as_mut()));
            files.extend(&mut trunk.secret_prefix.received_file);
            files.extend(&mut trunk.secret_prefix.sent_file);
        }
        files
    }
}
