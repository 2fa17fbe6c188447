//! The files that a reload reads besides the configuration.

use std::path::{Path, PathBuf};

use super::Config;

impl Config {
    /// Their paths, in an order that depends on nothing else than the configuration: first those that are copied.
    pub(crate) fn files(&self) -> Vec<PathBuf> {
        let mut files = self.copied_files();
        for trunk in &self.trunks {
            let password = trunk.credentials.as_ref().and_then(|credentials| credentials.password_file.as_ref());
            let prefixes = [&trunk.secret_prefix.received_file, &trunk.secret_prefix.sent_file];
            files.extend(password.into_iter().chain(prefixes.into_iter().flatten()).cloned());
        }
        let records = &self.cdr;
        files.extend(records.postgres.as_ref().and_then(|postgres| postgres.password_file.clone()));
        files.extend(records.radius.as_ref().map(|radius| radius.secret_file.clone()));
        files
    }

    /// The paths of those of which copies are kept for a rollback: not those that hold but one secret, of which there need
    /// not be two.
    pub(crate) fn copied_files(&self) -> Vec<PathBuf> {
        // It is small, save for the files.
        self.clone().copied_mut().into_iter().map(|path| path.clone()).collect()
    }

    /// Has copies of them read in their place: `0`, `1`, ... in a directory.
    pub fn use_copies(&mut self, directory: &Path) {
        for (number, path) in self.copied_mut().into_iter().enumerate() {
            *path = directory.join(number.to_string());
        }
    }

    fn copied_mut(&mut self) -> Vec<&mut PathBuf> {
        let users = self.trunks.iter_mut().filter_map(|trunk| trunk.authentication.as_mut()?.users_file.as_mut());
        self.routes_file.iter_mut().chain(users).collect()
    }
}
