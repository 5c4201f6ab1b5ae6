//! Bringing the tables of the module's database forward, never back.

use std::path::PathBuf;

use rusqlite::{Connection, OptionalExtension, TransactionBehavior};

use super::error::JournalError;

/// The steps that made the tables, in order. A step is never changed once released; `PRAGMA user_version` counts the
/// steps a database has seen.
pub const MIGRATIONS: &[&str] = &[
    include_str!("../../../../db/0001_servers_and_links.sql"),
    include_str!("../../../../db/0002_runs.sql"),
    include_str!("../../../../db/0003_conflicts_and_edits.sql"),
    include_str!("../../../../db/0004_both_directions.sql"),
    include_str!("../../../../db/0005_orders.sql"),
    include_str!("../../../../db/0006_watches.sql"),
    include_str!("../../../../db/0007_outbox_and_unmarked.sql"),
    include_str!("../../../../db/0008_one_index_for_the_people_page.sql"),
    include_str!("../../../../db/0009_cookies.sql"),
];

/// The version this program makes.
pub(super) fn known() -> u32 {
    MIGRATIONS.len() as u32
}

/// The version of the tables found; 0 when there are none of ours, whatever else the file holds.
pub(super) fn version(connection: &Connection) -> Result<u32, JournalError> {
    let found: u32 = connection.pragma_query_value(None, "user_version", |row| row.get(0))?;
    let query = "SELECT 1 FROM sqlite_schema WHERE type = 'table' AND name = 'servers'";
    let ours = connection.query_row(query, [], |_| Ok(())).optional()?.is_some();
    Ok(if ours { found } else { 0 })
}

/// Runs the `steps` that `connection` has not seen, each in one transaction with its number.
pub(super) fn migrate(connection: &mut Connection, steps: &[&str]) -> Result<(), JournalError> {
    let known = steps.len() as u32;
    loop {
        // Within the transaction, because another process may be migrating the same file.
        let tx = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
        let found = version(&tx)?;
        if found > known {
            return Err(JournalError::Newer { path: PathBuf::new(), found, known });
        }
        let Some(step) = steps.get(found as usize) else { return Ok(()) };
        tx.execute_batch(step)?;
        tx.pragma_update(None, "user_version", found + 1)?;
        tx.commit()?;
        log::info!("the module's database now has version {} of {known}", found + 1);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const FIRST: &str = "CREATE TABLE servers (id INTEGER PRIMARY KEY) STRICT;";

    fn tables(connection: &Connection) -> Vec<String> {
        let mut statement = connection.prepare("SELECT name FROM sqlite_schema ORDER BY name").unwrap();
        statement.query_map([], |row| row.get(0)).unwrap().map(Result::unwrap).collect()
    }

    #[test]
    fn a_failing_step_leaves_the_version_before_it() {
        let mut connection = Connection::open_in_memory().unwrap();
        let broken = "CREATE TABLE second (id INTEGER) STRICT; CREATE TABLE third (id NONSENSE) STRICT;";
        migrate(&mut connection, &[FIRST, broken]).unwrap_err();
        assert_eq!(version(&connection).unwrap(), 1);
        assert_eq!(tables(&connection), ["servers"]);

        migrate(&mut connection, &[FIRST, "CREATE TABLE second (id INTEGER) STRICT;"]).unwrap();
        assert_eq!(version(&connection).unwrap(), 2);
        assert_eq!(tables(&connection), ["second", "servers"]);
    }

    #[test]
    fn going_back_is_refused() {
        let mut connection = Connection::open_in_memory().unwrap();
        migrate(&mut connection, &[FIRST, "CREATE TABLE second (id INTEGER) STRICT;"]).unwrap();
        let error = migrate(&mut connection, &[FIRST]).unwrap_err();
        assert!(matches!(error, JournalError::Newer { found: 2, known: 1, .. }), "{error}");
        assert_eq!(tables(&connection), ["second", "servers"]);
    }
}
