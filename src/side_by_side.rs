//! Several directories asked at once, so that one that hangs holds up none of the others.

use std::sync::mpsc;

use directory::LdapDirectory;
use sync_core::directory::{Directory, DirectoryError};

/// Asks each directory for its change mark, all at once, and hands them to `next` in the order in which they answer, or
/// have not answered in time. What belongs to a directory comes with it.
pub(crate) fn as_they_answer<T: Send>(
    directories: Vec<(T, LdapDirectory)>,
    mut next: impl FnMut(T, LdapDirectory, Result<(), DirectoryError>),
) {
    let (tell, told) = mpsc::channel();
    std::thread::scope(|scope| {
        for (one, mut directory) in directories {
            let tell = tell.clone();
            scope.spawn(move || {
                let answer = directory.mark().map(drop);
                // Who listens is below, and outlives every thread of the scope.
                drop(tell.send((one, directory, answer)));
            });
        }
        drop(tell);
        told.into_iter().for_each(|(one, directory, answer)| next(one, directory, answer));
    });
}
