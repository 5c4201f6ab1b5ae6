//! Who points at a number: queues, voice menus, routes, work-time rules and other people's forwardings.

use std::collections::{BTreeMap, BTreeSet};

use rusqlite::Connection;

use super::index::{Index, Indexed};
use super::schema::{Schema, Table, text};
use super::state::{Extension, extensions_with};

const FORWARDINGS: [&str; 3] = ["forwarding", "forwardingonbusy", "forwardingonunavailable"];

/// For each number that something points at: what does, in words, each once. A person's forwardings to their own numbers
/// are left out.
pub(super) fn uses(
    connection: &Connection,
    schema: &Schema,
    extensions: &[Extension],
) -> rusqlite::Result<BTreeMap<String, Vec<String>>> {
    Uses { connection, schema, among: None, found: BTreeMap::new() }.all(extensions)
}

/// The same for these numbers only.
pub(super) fn uses_of(
    rows: Indexed<'_>,
    numbers: &BTreeSet<String>,
) -> rusqlite::Result<BTreeMap<String, Vec<String>>> {
    let Indexed { connection, schema, index } = rows;
    let uses = Uses { connection, schema, among: Some((numbers, index)), found: BTreeMap::new() };
    let concerned = uses.forwarded()?.into_iter().flat_map(|(from, target)| [from, target]).collect();
    uses.all(&extensions_with(rows, &concerned)?)
}

fn titled(what: &str, name: &str, id: i64) -> String {
    if name.is_empty() { format!("{what} no. {id}") } else { format!("{what} {name}") }
}

struct Uses<'a> {
    connection: &'a Connection,
    schema: &'a Schema,
    /// The numbers that are asked for; every one when there is no set.
    among: Option<(&'a BTreeSet<String>, &'a Index)>,
    found: BTreeMap<String, Vec<String>>,
}

impl Uses<'_> {
    /// `extensions` are at least those that forwardings come from and point at.
    fn all(mut self, extensions: &[Extension]) -> rusqlite::Result<BTreeMap<String, Vec<String>>> {
        let queues = self.names(Table::CallQueues)?;
        let menus = self.names(Table::IvrMenu)?;
        let called =
            |names: &BTreeMap<String, String>, id: &str| names.get(id).cloned().unwrap_or_else(|| id.to_owned());
        self.pointers(Table::CallQueueMembers, "queue", &["extension"], |queue, _| {
            format!("queue {}", called(&queues, queue))
        })?;
        let redirects = [
            "timeout_extension",
            "redirect_to_extension_if_empty",
            "redirect_to_extension_if_unanswered",
            "redirect_to_extension_if_repeat_exceeded",
        ];
        self.pointers(Table::CallQueues, "name", &redirects, |name, _| format!("queue {name}"))?;
        self.pointers(Table::IvrMenu, "name", &["timeout_extension"], |name, _| format!("IVR menu {name}"))?;
        self.pointers(Table::IvrMenuActions, "ivr_menu_id", &["extension"], |menu, _| {
            format!("IVR menu {}", called(&menus, menu))
        })?;
        self.pointers(Table::IncomingRouting, "rulename", &["extension"], |name, id| {
            titled("incoming route", name, id)
        })?;
        self.pointers(Table::OutWorkTimes, "description", &["extension"], |name, id| {
            titled("work-time rule", name, id)
        })?;
        self.forwardings(extensions)?;
        Ok(self.found)
    }

    fn is_asked_for(&self, number: &str) -> bool {
        !number.is_empty() && self.among.is_none_or(|(numbers, _)| numbers.contains(number))
    }

    fn add(&mut self, number: String, words: String) {
        let known = self.found.entry(number).or_default();
        if !known.contains(&words) {
            known.push(words);
        }
    }

    /// `uniqid` to `name` of a table.
    fn names(&self, table: Table) -> rusqlite::Result<BTreeMap<String, String>> {
        if !self.schema.has(table, "uniqid") || !self.schema.has(table, "name") {
            return Ok(BTreeMap::new());
        }
        let mut statement = self.connection.prepare_cached(&format!("SELECT uniqid, name FROM {}", table.name()))?;
        statement.query_map([], |row| Ok((text(row, 0)?, text(row, 1)?)))?.collect()
    }

    /// Every number in `columns`, with `words` made from the column `label` and the row's id.
    fn pointers(
        &mut self,
        table: Table,
        label: &str,
        columns: &[&str],
        words: impl Fn(&str, i64) -> String,
    ) -> rusqlite::Result<()> {
        let columns = self.schema.existing(table, columns);
        if columns.is_empty() {
            return Ok(());
        }
        let label = if self.schema.has(table, label) { label } else { "id" };
        let sql = format!("SELECT id, {label}, {} FROM {} ORDER BY id", columns.join(", "), table.name());
        let mut statement = self.connection.prepare_cached(&sql)?;
        let mut rows = statement.query([])?;
        while let Some(row) = rows.next()? {
            for index in 0..columns.len() {
                let number = text(row, index + 2)?;
                if self.is_asked_for(&number) {
                    self.add(number, words(&text(row, 1)?, row.get(0)?));
                }
            }
        }
        Ok(())
    }

    fn forwardings(&mut self, extensions: &[Extension]) -> rusqlite::Result<()> {
        let owners: BTreeMap<&str, i64> =
            extensions.iter().filter_map(|row| Some((row.number.as_str(), row.user_id?))).collect();
        for (from, target) in self.forwarded()? {
            let owner = owners.get(target.as_str());
            let own = target == from || (owner.is_some() && owner == owners.get(from.as_str()));
            if !own {
                self.add(target, format!("forwarding of {from}"));
            }
        }
        Ok(())
    }

    /// Which number forwards to which.
    fn forwarded(&self) -> rusqlite::Result<Vec<(String, String)>> {
        let (among, list) = match self.among {
            Some((numbers, index)) => {
                let numbers: Vec<&str> = numbers.iter().map(String::as_str).collect();
                (
                    "WHERE id IN (SELECT value FROM json_each(?1))",
                    index.rows_of_any(Table::Forwarding, &FORWARDINGS, &numbers),
                )
            }
            None => ("WHERE ?1 = ''", String::new()),
        };
        let (columns, table) = (FORWARDINGS.join(", "), Table::Forwarding.name());
        let mut statement =
            self.connection.prepare_cached(&format!("SELECT extension, {columns} FROM {table} {among} ORDER BY id"))?;
        let mut rows = statement.query([list])?;
        let mut found = Vec::new();
        while let Some(row) = rows.next()? {
            for index in 0..FORWARDINGS.len() {
                let target = text(row, index + 1)?;
                if self.is_asked_for(&target) {
                    found.push((text(row, 0)?, target));
                }
            }
        }
        Ok(found)
    }
}
