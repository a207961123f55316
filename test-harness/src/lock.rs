//! A lock that holds between processes, for work that must be done by one of them.

use std::fs::File;
use std::io;

use rustix::fs::{FlockOperation, flock};

use crate::{announce, target_folder};

/// Held until dropped, or until the process ends, however it ends.
#[must_use]
pub struct Lock {
    _file: File,
}

/// Waits until no other process holds the lock of this name; says so if it has to wait.
pub fn acquire(name: &str) -> io::Result<Lock> {
    let path = target_folder("tools").join(format!("{name}.lock"));
    let file = File::options().create(true).truncate(false).write(true).open(&path)?;
    if flock(&file, FlockOperation::NonBlockingLockExclusive).is_err() {
        announce(&format!("waiting for another process that holds {}", path.display()));
        flock(&file, FlockOperation::LockExclusive)?;
    }
    Ok(Lock { _file: file })
}
