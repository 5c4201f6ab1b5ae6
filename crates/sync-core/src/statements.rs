//! How many SQL statements one or more connections to a database have run: what shows, at debug level, that nobody
//! unchanged costs a query.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use rusqlite::Connection;
use rusqlite::trace::{TraceEvent, TraceEventCodes};

/// A count of the statements its connections have begun.
#[derive(Clone, Debug, Default)]
pub(crate) struct Statements(Arc<AtomicU64>);

impl Statements {
    /// Begins to count the statements of `connection`.
    pub(crate) fn of(connection: &mut Connection) -> rusqlite::Result<Statements> {
        Statements::default().with(connection)
    }

    /// Begins to count the statements of `connection` as well.
    pub(crate) fn with(&self, connection: &mut Connection) -> rusqlite::Result<Statements> {
        let counter = Arc::clone(&self.0);
        let count = move |_: TraceEvent<'_>| {
            counter.fetch_add(1, Ordering::Relaxed);
        };
        connection.trace_v2(TraceEventCodes::SQLITE_TRACE_STMT, Some(count))?;
        Ok(self.clone())
    }

    /// The statements so far.
    pub(crate) fn count(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}
