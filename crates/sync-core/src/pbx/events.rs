//! Change events as MikoPBX publishes them (docs/MIKOPBX.md, Announcements).

use std::sync::Arc;

use super::ModelEvent;
use super::schema::{Schema, Table};

const SOURCE: &str = "ModelsBase->sendChangesToBackend";
const SAVED: &str = "afterSave";
const DELETED: &str = "afterDelete";

/// A new row: every column, `id` last.
pub(super) fn created(schema: &Schema, table: Table, id: i64) -> ModelEvent {
    event(table, id, SAVED, schema.columns_of_new(table))
}

/// A changed row: the columns that changed.
pub(super) fn updated(table: Table, id: i64, fields: Vec<String>) -> ModelEvent {
    event(table, id, SAVED, fields.into())
}

/// A deleted row: every column, `id` first.
pub(super) fn deleted(schema: &Schema, table: Table, id: i64) -> ModelEvent {
    let mut fields = columns_without_id(schema, table);
    fields.insert(0, "id".to_owned());
    event(table, id, DELETED, fields.into())
}

/// Every column of a table but `id`, in physical order.
pub(super) fn columns_without_id(schema: &Schema, table: Table) -> Vec<String> {
    schema.columns(table).iter().map(|column| column.name.clone()).filter(|name| name != "id").collect()
}

fn event(table: Table, id: i64, action: &'static str, changed_fields: Arc<[String]>) -> ModelEvent {
    ModelEvent {
        source: SOURCE.into(),
        model: table.model(),
        record_id: smol_str::format_smolstr!("{id}"),
        action: action.into(),
        changed_fields,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn json_is_what_the_pbx_publishes() {
        let events = [updated(Table::Users, 113, vec!["email".to_owned()])];
        assert_eq!(
            serde_json::to_string(&events).unwrap(),
            r#"[{"source":"ModelsBase->sendChangesToBackend","model":"MikoPBX\\Common\\Models\\Users","recordId":"113","action":"afterSave","changedFields":["email"]}]"#
        );
    }
}
