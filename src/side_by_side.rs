//! Several directories asked at once, so that one that hangs holds up none of the others.

use std::any::Any;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::mpsc::{Receiver, channel};
use std::time::{Duration, Instant};

use directory::LdapDirectory;
use sync_core::directory::{Directory, DirectoryError};

use crate::host::{Callbacks, with_host};

/// How long those who come first are waited for when others have answered already.
const COURTESY: Duration = Duration::from_secs(2);

/// What a directory answered, with what belongs to it.
struct Answer<T> {
    of: T,
    directory: LdapDirectory,
    mark: Result<Result<(), DirectoryError>, Box<dyn Any + Send>>,
}

/// Asks each directory for its change mark, all at once, and hands them to `next` in the order in which they answer, or
/// have not answered in time. Those who come `first` do so unless they have not answered within two seconds. What belongs
/// to a directory comes with it.
pub(crate) fn as_they_answer<T: Send>(
    host: &Callbacks,
    directories: Vec<(T, LdapDirectory)>,
    first: impl Fn(&T) -> bool,
    mut next: impl FnMut(T, LdapDirectory, Result<(), DirectoryError>),
) {
    let mut awaited = directories.iter().filter(|(of, _)| first(of)).count();
    let (tell, told) = channel();
    std::thread::scope(|scope| {
        for (of, mut directory) in directories {
            let tell = tell.clone();
            scope.spawn(move || {
                let ask = || directory.mark().map(drop);
                let mark = with_host(host, || catch_unwind(AssertUnwindSafe(ask)));
                // Nobody listens any more when what was done for another one has panicked.
                drop(tell.send(Answer { of, directory, mark }));
            });
        }
        drop(tell);
        let until = Instant::now() + COURTESY;
        let mut answered: Vec<Answer<T>> = Vec::new();
        loop {
            receive(&told, &mut answered, |answered| {
                let is_awaited = awaited > 0 && !answered.iter().any(|one| first(&one.of));
                is_awaited.then(|| until.saturating_duration_since(Instant::now()))
            });
            let Some(at) = answered.iter().position(|one| first(&one.of)).or((!answered.is_empty()).then_some(0))
            else {
                return;
            };
            let Answer { of, directory, mark } = answered.remove(at);
            awaited -= usize::from(first(&of));
            next(of, directory, mark.unwrap_or_else(|panic| resume_unwind(panic)));
        }
    });
}

/// Takes in what has come: at least one, as long as any is to come, and more while `patience` says how long to wait.
fn receive<T>(told: &Receiver<T>, answered: &mut Vec<T>, patience: impl Fn(&[T]) -> Option<Duration>) {
    if answered.is_empty() {
        answered.extend(told.recv().ok());
    }
    answered.extend(told.try_iter());
    while let Some(one) = patience(answered).and_then(|time| told.recv_timeout(time).ok()) {
        answered.push(one);
    }
}
